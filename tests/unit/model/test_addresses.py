from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.model.addresses import OPAQUE, SNIFFED, Space, natural, settle, text
from weft.names import ServiceKey


def keys(count: int) -> list[ServiceKey]:
    return [ServiceKey("n", f"s{number}") for number in range(count)]


def test_addresses_stay_inside_their_space() -> None:
    for key in keys(500):
        assert text(natural(key, SNIFFED)).split(".")[0] in {str(first) for first in range(240, 248)}
        assert not text(natural(key, SNIFFED)).startswith("240.0.0.")
        assert text(natural(key, OPAQUE)).split(".")[0] in {str(first) for first in range(248, 255)}


def test_an_address_follows_from_the_name_alone() -> None:
    assert text(natural(ServiceKey("default", "reviews"), SNIFFED)) == text(
        natural(ServiceKey("default", "reviews"), SNIFFED)
    )
    assert natural(ServiceKey("a", "bc"), SNIFFED) != natural(ServiceKey("ab", "c"), SNIFFED)


def test_the_oldest_keeps_its_natural_address_and_the_others_move() -> None:
    space = Space(1000, 4)
    found = settle([(f"{9 - number}", key, space) for number, key in enumerate(keys(4))])
    assert len(set(found.values())) == 4
    oldest = keys(4)[3]
    assert found[oldest] == text(natural(oldest, space))


def test_equal_age_is_settled_by_name_whatever_the_order() -> None:
    space = Space(1000, 8)
    wanted = [("~", key, space) for key in keys(8)]
    assert settle(wanted) == settle(reversed(wanted))


def test_a_full_space_is_an_error() -> None:
    with pytest.raises(ValueError, match="no virtual address"):
        settle([("", key, Space(0, 2)) for key in keys(3)])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=12, unique_by=lambda item: item[1]))
def test_the_order_of_asking_never_matters_and_the_oldest_is_served_first(asked: list[tuple[str, int]]) -> None:
    space = Space(1000, 12)
    wanted = [(age, ServiceKey("n", f"s{number}"), space) for age, number in asked]
    free = set(range(space.first, space.first + space.size))
    expected = {}
    for _, key, _ in sorted(wanted, key=lambda item: item[:2]):
        address = natural(key, space)
        while address not in free:
            address = space.first + (address + 1 - space.first) % space.size
        free.remove(address)
        expected[key] = text(address)
    assert settle(wanted) == expected
    assert settle(reversed(wanted)) == expected
