"""What one type does beyond what the stream's tests show."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.delta import resource
from weft.xds.channel import SUSPECTS, Channel, groups
from weft.xds.protocol import CLUSTER, ENDPOINTS, EXTENSION, Limits, Request

names = st.lists(st.text("abc", min_size=1, max_size=3), min_size=2, max_size=12, unique=True).map(tuple)


@given(names=names, detail=st.text("abc ,", max_size=30))
def test_groups_hold_every_name_once_and_are_smaller_than_the_whole(names: tuple[str, ...], detail: str) -> None:
    made = groups(names, detail)
    assert sorted(name for group in made for name in group) == sorted(names)
    assert len(made) >= 2
    assert all(0 < len(group) < len(names) for group in made)


def test_names_in_the_error_are_tried_alone_after_the_others() -> None:
    assert groups(("a1", "b2", "c3"), "Error adding b2: bad") == [("a1", "c3"), ("b2",)]


def test_an_error_that_names_too_many_halves() -> None:
    many = tuple(f"n{number:02}" for number in range(SUSPECTS + 2))
    assert groups(many, ", ".join(many[:-1])) == [many[:5], many[5:]]


def test_rejections_older_than_the_window_are_forgotten() -> None:
    channel = Channel(CLUSTER, Limits(nacks=1, nack_window_seconds=10), {})
    channel.subscribe(Request(type_url=CLUSTER), 0)
    channel.offer({"a": resource(CLUSTER, "a")}, lambda _: True, 0)
    channel.sent = channel.next_additions(0, lambda _: True)
    channel.reject("n", "no", 0)
    assert channel.paused_until(9.9) == 10
    assert channel.paused_until(10) is None


def test_an_answer_to_nothing_is_ignored() -> None:
    channel = Channel(CLUSTER, Limits(), {})
    assert channel.acknowledge(0) is None
    assert channel.reject("n", "no", 0) is None


def test_what_the_client_lists_but_does_not_ask_for_is_not_its_concern() -> None:
    channel = Channel(ENDPOINTS, Limits(), {})
    channel.subscribe(Request(type_url=ENDPOINTS, subscribe=("a",), initial={"a": "1", "b": "1"}), 0)
    assert set(channel.held) == {"a"}


def test_a_filters_configuration_stays_as_long_as_a_listener_asks_for_it() -> None:
    channel = Channel(EXTENSION, Limits(guard_minimum=0), {})
    names = ("a/policy", "b/policy")
    both = {name: resource(EXTENSION, name) for name in names}
    channel.subscribe(Request(type_url=EXTENSION, subscribe=names), 0)
    channel.offer(both, lambda _: True, 0)
    channel.sent = channel.next_additions(0, lambda _: True)
    channel.acknowledge(0)
    channel.offer({}, lambda _: True, 1)
    assert channel.next_removals() is None
    assert channel.next_additions(1, lambda _: True) is None
    assert set(channel.held) == {"a/policy", "b/policy"}
    assert channel.withheld == frozenset()
    assert channel.waiting_since is None
    channel.subscribe(Request(type_url=EXTENSION, unsubscribe=("a/policy",)), 2)
    assert set(channel.held) == {"b/policy"}
    changed = {"b/policy": resource(EXTENSION, "b/policy", b"2")}
    channel.offer(changed, lambda _: True, 3)
    batch = channel.next_additions(3, lambda _: True)
    assert batch is not None
    assert batch.names == ("b/policy",)
