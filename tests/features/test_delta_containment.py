"""What a client refuses, what would take most of it away, and what asks for too much: contained, shown, counted."""

from __future__ import annotations

import pytest

from tests.support.delta import NO_DEMAND, Talk, of, resource, resources
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.model.view import Demand
from weft.xds.protocol import (
    CLUSTER,
    ENDPOINTS,
    Limits,
    NamesRefused,
    Refusal,
    Rejected,
    Request,
    StreamRejectedError,
    Withheld,
)
from weft.xds.stream import DeltaStream

# --- refusals


def refusing(*contents: str, whole: bool = False, limits: Limits | None = None) -> Talk:
    talk = Talk(limits)
    talk.client.refuses = {content.encode() for content in contents}
    talk.client.whole = whole
    talk.client.names_culprits = not whole
    talk.ask(CLUSTER)
    return talk


@pytest.mark.parametrize("whole", [False, True])
def test_of_a_rejected_response_everything_but_the_culprits_is_applied(whole: bool) -> None:
    talk = refusing("c", "f", whole=whole)
    talk.offer(of(CLUSTER, *"abcdefgh"))
    talk.rest()
    assert sorted(talk.client.held[CLUSTER]) == list("abdegh")
    assert sorted(talk.stream.refusals[CLUSTER]) == ["c", "f"]
    assert talk.stream.settled


def test_a_refusal_says_who_refused_which_version_of_whose_object_and_why() -> None:
    talk = refusing("a")
    one = resource(CLUSTER, "a", b"a", source="HTTPRoute/shop/cart")
    talk.offer((CLUSTER, [one]))
    talk.said()
    rejected, refusal = talk.answer()
    assert rejected == Rejected(CLUSTER, "Error adding a: bad")
    assert refusal == Refusal(
        node="n",
        type_url=CLUSTER,
        name="a",
        version=one.version,
        source="HTTPRoute/shop/cart",
        detail="Error adding a: bad",
        at=0,
    )


def test_a_refused_version_is_not_sent_again_until_it_changes_and_the_earlier_one_stays() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.offer(of(CLUSTER, "a"))
    talk.rest()
    talk.client.refuses = {b"a2"}
    talk.offer(of(CLUSTER, "a", version="2"))
    talk.rest()
    talk.offer(of(CLUSTER, "a", version="2"))
    assert talk.said() == []
    assert talk.client.held[CLUSTER]["a"] == b"a"
    talk.offer(of(CLUSTER, "a", version="3"))
    talk.rest()
    assert talk.client.held[CLUSTER]["a"] == b"a3"
    assert talk.stream.refusals == {}


def test_asking_again_for_what_was_refused_gives_the_version_before() -> None:
    talk = Talk()
    talk.ask(ENDPOINTS, "a")
    talk.offer(of(ENDPOINTS, "a"))
    talk.rest()
    talk.client.refuses = {b"a2"}
    talk.offer(of(ENDPOINTS, "a", version="2"))
    talk.rest()
    talk.ask(ENDPOINTS, "a")
    assert talk.rest() == [(ENDPOINTS, ["a"], [])]
    assert talk.client.held[ENDPOINTS]["a"] == b"a"
    assert "a" in talk.stream.refusals[ENDPOINTS]


def test_who_waits_for_a_refused_name_is_told_that_there_is_nothing_to_wait_for() -> None:
    talk = Talk()
    talk.client.refuses = {b"a"}
    talk.ask(ENDPOINTS, "a")
    talk.offer(of(ENDPOINTS, "a"))
    assert talk.rest() == [(ENDPOINTS, ["a"], []), (ENDPOINTS, [], ["a"])]


def test_a_refusal_is_remembered_over_a_reconnect_but_not_for_a_new_process() -> None:
    talk = refusing("b")
    world = resources(of(CLUSTER, "a", "b"))
    talk.stream.offer(world, NO_DEMAND, 0)
    talk.rest()
    again = Talk(stream=DeltaStream(Limits(), talk.stream.refusals))
    held = {"a": world.of(CLUSTER)["a"].version}
    again.stream.receive(Request(type_url=CLUSTER, node="n", initial=held), 0)
    again.stream.offer(world, NO_DEMAND, 0)
    assert again.said() == []
    fresh = Talk(stream=DeltaStream(Limits(), talk.stream.refusals))
    fresh.ask(CLUSTER)
    fresh.stream.offer(world, NO_DEMAND, 0)
    assert fresh.said() == [(CLUSTER, ["a", "b"], [])]


def test_a_client_that_rejects_too_much_is_given_a_rest() -> None:
    talk = refusing(*"abcdefgh", whole=True, limits=Limits(nacks=3, nack_window_seconds=10))
    talk.offer(of(CLUSTER, *"abcdefgh"))
    assert len(talk.rest()) == 3
    deadline = talk.stream.deadline(0)
    assert deadline is not None
    talk.now = 10.0
    assert len(talk.rest()) == 3


def test_a_removal_that_is_rejected_is_not_tried_forever() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.offer(of(CLUSTER, "a"))
    talk.rest()
    talk.offer()
    [data] = talk.stream.take(0)
    nonce = discovery.DeltaDiscoveryResponse.FromString(data).nonce
    events = talk.stream.receive(Request(type_url=CLUSTER, nonce=nonce, error="no"), 0)
    assert [event.version for event in events if isinstance(event, Refusal)] == [""]
    assert talk.said() == []


# --- the guard


def guarded(count: int, keep: int) -> tuple[Talk, list[object]]:
    talk = Talk()
    talk.ask(CLUSTER)
    names = [f"c{number:02}" for number in range(count)]
    talk.offer(of(CLUSTER, *names))
    talk.rest()
    return talk, talk.offer(of(CLUSTER, *names[:keep]))


def test_removing_most_of_a_type_at_once_waits_for_an_operator() -> None:
    talk, events = guarded(20, 5)
    assert events == [Withheld(CLUSTER, 15, 20)]
    assert talk.said() == []
    assert talk.stream.confirm_removals(0) == 15
    [(_, added, removed)] = talk.said()
    assert (added, len(removed)) == ([], 15)


def test_what_comes_back_is_no_longer_withheld() -> None:
    talk, _ = guarded(20, 5)
    talk.offer(of(CLUSTER, *[f"c{number:02}" for number in range(20)]))
    assert talk.said() == []
    assert talk.stream.confirm_removals(0) == 0


@pytest.mark.parametrize(("count", "keep"), [(20, 10), (10, 0)])
def test_removing_half_or_a_few_needs_no_operator(count: int, keep: int) -> None:
    talk, events = guarded(count, keep)
    assert events == []
    [(_, _, removed)] = talk.rest()
    assert len(removed) == count - keep


def test_a_reconnecting_client_is_guarded_too() -> None:
    talk = Talk()
    talk.offer(of(CLUSTER))
    held = {f"c{number}": "1" for number in range(20)}
    events = talk.stream.receive(Request(type_url=CLUSTER, node="n", initial=held), 0)
    assert Withheld(CLUSTER, 20, 20) in events
    assert talk.said() == []


def test_what_the_client_no_longer_asks_for_does_not_count_as_mass_removal() -> None:
    talk = Talk()
    names = [f"c{number:02}" for number in range(20)]
    demand = Demand(clusters=frozenset(names))
    talk.ask(CLUSTER)
    talk.ask(CLUSTER, *names)
    talk.offer(of(CLUSTER, *names), demand=demand)
    talk.rest()
    talk.ask(CLUSTER, drop=tuple(names))
    assert talk.offer(of(CLUSTER)) == []
    [(_, added, removed)] = talk.rest()
    assert (added, removed) == ([], names)


# --- limits


def test_names_over_the_limit_are_answered_as_missing_and_counted() -> None:
    talk = Talk(Limits(names=2))
    talk.offer(of(ENDPOINTS, "a", "b", "c"))
    assert talk.ask(ENDPOINTS, "a", "b", "c") == [NamesRefused(ENDPOINTS, 1)]
    assert talk.rest() == [(ENDPOINTS, ["a", "b"], ["c"])]


def test_of_names_over_the_limit_no_more_wait_for_their_answer_than_the_limit() -> None:
    talk = Talk(Limits(names=2))
    talk.offer(of(ENDPOINTS, "a", "b"))
    assert talk.ask(ENDPOINTS, "a", "b", "c", "d", "e") == [NamesRefused(ENDPOINTS, 3)]
    assert talk.ask(ENDPOINTS, "f", "g") == [NamesRefused(ENDPOINTS, 2)]
    assert talk.rest() == [(ENDPOINTS, ["a", "b"], ["c", "d"])]
    assert talk.ask(ENDPOINTS, "g") == [NamesRefused(ENDPOINTS, 1)]
    assert talk.rest() == [(ENDPOINTS, [], ["g"])]


@pytest.mark.parametrize(
    "request_",
    [
        Request(type_url=CLUSTER),
        Request(type_url=CLUSTER, node="n" * 600),
        Request(type_url="", node="n"),
    ],
)
def test_a_client_that_breaks_the_rules_is_sent_away(request_: Request) -> None:
    with pytest.raises(StreamRejectedError):
        DeltaStream(Limits(names=3)).receive(request_, 0)


def test_a_client_cannot_open_any_number_of_types() -> None:
    stream = DeltaStream(Limits(types=2))
    stream.receive(Request(type_url="a", node="n"), 0)
    stream.receive(Request(type_url="b"), 0)
    with pytest.raises(StreamRejectedError, match="2 resource types"):
        stream.receive(Request(type_url="c"), 0)


def test_a_type_of_its_own_is_served_after_the_known_ones() -> None:
    talk = Talk()
    talk.ask("x", "a")
    talk.ask(CLUSTER)
    talk.offer(of("x", "a"), of(CLUSTER, "a"))
    assert talk.said() == [(CLUSTER, ["a"], []), ("x", ["a"], [])]
