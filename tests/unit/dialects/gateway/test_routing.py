from __future__ import annotations

from weft.dialects.gateway.precedence import Entry
from weft.dialects.gateway.routing import Group, offers, route_set
from weft.model.route import Rule


def entry(name: str) -> Entry:
    return Entry("", "n", name, (Rule(name),))


def test_producers_and_consumers_are_kept_apart() -> None:
    found = route_set((("shop", entry("c")), ("", entry("b")), ("", entry("a")), ("bank", entry("d"))))
    assert [rule.source for rule in found.producer] == ["a", "b"]
    assert [(caller, [rule.source for rule in rules]) for caller, rules in found.consumer] == [
        ("bank", ["d"]),
        ("shop", ["c"]),
    ]


def test_a_services_routes_are_equal_whatever_order_they_came_in() -> None:
    found = ((("", entry("b"))), ("", entry("a")), ("shop", entry("c")))
    assert route_set(found) == route_set(found[::-1])


def test_offers_of_all_groups_are_sorted_by_route() -> None:
    where = (("n", "edge"), "http")
    groups = [Group((), {where: ((("*",), entry(name)),)}, (), ()) for name in ("b", "a")]
    assert [found.name for _, found in offers(groups)["n", "edge"]["http"]] == ["a", "b"]
