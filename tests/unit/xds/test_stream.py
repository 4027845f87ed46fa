"""One test for each rule of the incremental protocol, and for each promise that the stream makes beyond it."""

from __future__ import annotations

import pytest

from tests.support.delta import Client, named, resource, resources
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.model.view import Demand
from weft.xds.protocol import (
    ABSENT,
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    VIRTUAL_HOST,
    Acknowledged,
    DemandChanged,
    Limits,
    NamesRefused,
    Refusal,
    Rejected,
    Request,
    Resource,
    ResourceSet,
    StreamRejectedError,
    Withheld,
)
from weft.xds.stream import DeltaStream

NO_DEMAND = Demand()
Said = tuple[str, list[str], list[str]]


class Talk:
    """A stream and a client beside it; ``said`` reads what the stream wants to say now."""

    def __init__(self, limits: Limits | None = None, stream: DeltaStream | None = None) -> None:
        self.stream = stream or DeltaStream(limits or Limits())
        self.client = Client()
        self.now = 0.0
        self.open: list[bytes] = []

    def ask(self, type_url: str, *names: str, drop: tuple[str, ...] = ()) -> list[object]:
        self.client.wants.setdefault(type_url, set()).update(names or ("*",))
        request = Request(type_url=type_url, node="n", subscribe=names, unsubscribe=drop)
        return list(self.stream.receive(request, self.now))

    def offer(self, *by_type: tuple[str, list[Resource]], demand: Demand = NO_DEMAND) -> list[object]:
        return list(self.stream.offer(resources(*by_type), demand, self.now))

    def said(self) -> list[Said]:
        out = self.stream.take(self.now)
        self.open += out
        return [read(data) for data in out]

    def answer(self) -> list[object]:
        """The client takes and answers all that is on its way."""
        events: list[object] = []
        while self.open:
            events += self.stream.receive(self.client.take(self.open.pop(0)), self.now)
        return events

    def rest(self) -> list[Said]:
        """Talk until nobody has anything to say; gives all that was said."""
        all_said: list[Said] = []
        while said := self.said():
            all_said += said
            self.answer()
        return all_said


def read(data: bytes) -> Said:
    response = discovery.DeltaDiscoveryResponse.FromString(data)
    return (response.type_url, *named(response))


def of(type_url: str, *names: str, version: str = "") -> tuple[str, list[Resource]]:
    return type_url, [resource(type_url, name, (name + version).encode()) for name in names]


# --- subscriptions and answers


def test_nothing_is_said_before_the_first_offer() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.ask(ENDPOINTS, "a")
    assert talk.said() == []


def test_a_wildcard_gets_everything_and_a_name_gets_only_itself() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.ask(ENDPOINTS, "a")
    talk.offer(of(CLUSTER, "a", "b"), of(ENDPOINTS, "a", "b"))
    assert talk.said() == [(CLUSTER, ["a", "b"], []), (ENDPOINTS, ["a"], [])]


def test_a_wildcard_client_that_has_nothing_gets_an_empty_answer_so_that_it_can_start() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.offer()
    assert talk.said() == [(CLUSTER, [], [])]
    talk.answer()
    assert talk.said() == []
    assert talk.stream.settled


def test_what_is_asked_for_again_is_sent_again_although_it_is_held() -> None:
    talk = Talk()
    talk.ask(ENDPOINTS, "a")
    talk.offer(of(ENDPOINTS, "a"))
    talk.rest()
    talk.ask(ENDPOINTS, "a")
    assert talk.said() == [(ENDPOINTS, ["a"], [])]


def test_a_name_that_does_not_exist_is_answered_as_removed() -> None:
    talk = Talk()
    talk.offer(of(ENDPOINTS))
    talk.ask(ENDPOINTS, "a")
    assert talk.said() == [(ENDPOINTS, [], ["a"])]


def test_a_missing_name_that_comes_to_exist_is_sent() -> None:
    talk = Talk()
    talk.ask(ENDPOINTS, "a")
    talk.offer()
    talk.rest()
    talk.offer(of(ENDPOINTS, "a"))
    assert talk.rest() == [(ENDPOINTS, ["a"], [])]


def test_unsubscribing_alone_is_not_answered_and_nothing_more_is_sent() -> None:
    talk = Talk()
    talk.ask(ENDPOINTS, "a", "b")
    talk.offer(of(ENDPOINTS, "a", "b"))
    talk.rest()
    talk.ask(ENDPOINTS, drop=("a",))
    assert talk.said() == []
    talk.offer(of(ENDPOINTS, "a", "b", version="2"))
    assert talk.rest() == [(ENDPOINTS, ["b"], [])]


@pytest.mark.parametrize(("still_there", "answer"), [(True, (CLUSTER, ["a"], [])), (False, (CLUSTER, [], ["a"]))])
def test_unsubscribing_from_a_name_beside_a_wildcard_is_answered(still_there: bool, answer: Said) -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    demand = Demand(clusters=frozenset({"a"}))
    talk.ask(CLUSTER, "a")
    talk.offer(of(CLUSTER, *(["a"] if still_there else [])), demand=demand)
    talk.rest()
    talk.ask(CLUSTER, drop=("a",))
    assert talk.said() == [answer]


def test_a_dropped_wildcard_keeps_the_names_beside_it() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.ask(CLUSTER, "a")
    talk.offer(of(CLUSTER, "a", "b"))
    talk.rest()
    talk.ask(CLUSTER, drop=("*",))
    talk.offer(of(CLUSTER, "a", "b", version="2"))
    assert talk.rest() == [(CLUSTER, ["a"], [])]


def test_a_change_of_subscription_counts_although_its_nonce_is_stale() -> None:
    talk = Talk()
    talk.offer(of(ENDPOINTS, "a"))
    talk.stream.receive(Request(type_url=ENDPOINTS, node="n", subscribe=("a",), nonce="gone"), 0)
    assert talk.said() == [(ENDPOINTS, ["a"], [])]


def test_a_stale_nonce_acknowledges_nothing() -> None:
    talk = Talk()
    talk.ask(ENDPOINTS, "a")
    talk.offer(of(ENDPOINTS, "a"))
    talk.said()
    assert talk.stream.receive(Request(type_url=ENDPOINTS, nonce="stale"), 0) == []
    assert talk.stream.receive(Request(type_url=ENDPOINTS, nonce="stale", error="no"), 0) == []
    assert not talk.stream.settled
    assert talk.answer() == [Acknowledged(ENDPOINTS, 1, 0)]
    assert talk.stream.settled


def test_only_the_first_request_says_who_the_client_is() -> None:
    stream = DeltaStream(Limits())
    stream.receive(Request(type_url=CLUSTER, node="n"), 0)
    stream.receive(Request(type_url=LISTENER, node="somebody else"), 0)
    assert stream.node == "n"


# --- versions


def test_nothing_is_sent_again_after_a_reconnect_with_equal_versions() -> None:
    talk = Talk()
    world = resources(of(CLUSTER, "a", "b"), of(ENDPOINTS, "a"))
    for type_url, names in ((CLUSTER, ("*",)), (ENDPOINTS, ("a",))):
        held = {one.name: one.version for one in world.of(type_url).values()}
        talk.stream.receive(Request(type_url=type_url, node="n", subscribe=names, initial=held), 0)
    talk.stream.offer(world, NO_DEMAND, 0)
    assert talk.said() == []
    assert talk.stream.settled
    assert talk.stream.channels[CLUSTER].held["a"].wire


def test_what_a_reconnecting_client_has_and_nobody_wants_is_removed() -> None:
    talk = Talk()
    talk.stream.receive(Request(type_url=CLUSTER, node="n", initial={"old": "1", "kept": "1"}), 0)
    talk.stream.offer(ResourceSet(types={CLUSTER: {"kept": Resource("kept", "1", b"")}}), NO_DEMAND, 0)
    assert talk.rest() == [(CLUSTER, [], ["old"])]


def test_a_no_op_offer_says_nothing() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.offer(of(CLUSTER, "a"))
    talk.rest()
    talk.offer(of(CLUSTER, "a"))
    assert talk.said() == []
    assert talk.stream.settled


def test_changes_that_come_before_the_ack_become_one_newest_state() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.offer(of(CLUSTER, "a"))
    talk.said()
    for version in "234":
        talk.offer(of(CLUSTER, "a", "b", version=version))
        assert talk.said() == []
    talk.answer()
    assert talk.said() == [(CLUSTER, ["a", "b"], [])]
    talk.answer()
    assert talk.client.held[CLUSTER] == {"a": b"a4", "b": b"b4"}


def test_a_response_is_split_at_its_limit_and_goes_on_after_the_ack() -> None:
    talk = Talk(Limits(batch_bytes=250))
    talk.ask(CLUSTER)
    talk.offer((CLUSTER, [resource(CLUSTER, name, name.encode() * 60) for name in "abcd"] + of(CLUSTER, "e")[1]))
    assert talk.said() == [(CLUSTER, ["a"], [])]
    assert talk.said() == []
    talk.answer()
    assert talk.rest() == [(CLUSTER, ["b"], []), (CLUSTER, ["c"], []), (CLUSTER, ["d", "e"], [])]


# --- order


def test_later_types_wait_for_the_ack_of_earlier_ones() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.ask(LISTENER)
    talk.ask(ROUTES, "r")
    talk.offer(of(CLUSTER, "a"), of(LISTENER, "l"), of(ROUTES, "r"))
    assert talk.said() == [(CLUSTER, ["a"], [])]
    talk.answer()
    assert talk.said() == [(LISTENER, ["l"], [])]
    talk.answer()
    assert talk.said() == [(ROUTES, ["r"], [])]


def test_removals_go_in_the_opposite_order_after_all_additions() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.ask(LISTENER)
    talk.ask(ROUTES, "r", "s")
    talk.offer(of(CLUSTER, "a"), of(LISTENER, "l"), of(ROUTES, "r", "s"))
    talk.rest()
    talk.offer(of(CLUSTER, "b"), of(ROUTES, "r", version="b"))
    assert talk.rest() == [
        (CLUSTER, ["b"], []),
        (ROUTES, ["r"], []),
        (ROUTES, [], ["s"]),
        (LISTENER, [], ["l"]),
        (CLUSTER, [], ["a"]),
    ]


def test_endpoints_do_not_wait_for_the_ack_of_their_cluster_because_it_waits_for_them() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.offer(of(CLUSTER, "a"), of(ENDPOINTS, "a"))
    talk.said()
    talk.ask(ENDPOINTS, "a")
    assert talk.said() == [(ENDPOINTS, ["a"], [])]


def test_endpoints_are_sent_again_after_their_cluster_changed_or_not() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.ask(ENDPOINTS, "a", "b")
    talk.offer(of(CLUSTER, "a", "b"), of(ENDPOINTS, "a", "b"))
    talk.rest()
    talk.offer((CLUSTER, of(CLUSTER, "a", version="2")[1] + of(CLUSTER, "b")[1]), of(ENDPOINTS, "a", "b"))
    assert talk.said() == [(CLUSTER, ["a"], []), (ENDPOINTS, ["a"], [])]


def test_a_type_that_is_never_acked_stops_the_others_only_for_a_while() -> None:
    talk = Talk(Limits(patience_seconds=5))
    talk.ask(CLUSTER)
    talk.ask(ROUTES, "r")
    talk.offer(of(CLUSTER, "a"), of(ROUTES, "r"))
    talk.said()
    assert talk.stream.unacknowledged_since == 0
    talk.now = 4.9
    assert talk.said() == []
    deadline = talk.stream.deadline(talk.now)
    assert deadline == 5
    talk.now = deadline
    assert talk.said() == [(ROUTES, ["r"], [])]


# --- on demand


def test_the_names_asked_for_on_demand_are_the_demand() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    assert talk.ask(VIRTUAL_HOST, "outbound/reviews:9080", "other/x") == [DemandChanged()]
    assert talk.ask(CLUSTER, "outbound|80||x") == [DemandChanged()]
    assert talk.ask(CLUSTER, "outbound|80||x") == []
    assert talk.stream.demand == Demand(hosts=frozenset({"reviews:9080"}), clusters=frozenset({"outbound|80||x"}))


def test_a_name_nobody_has_computed_yet_is_not_answered_before_an_offer_for_it() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.offer(of(CLUSTER, "pushed"))
    talk.rest()
    talk.ask(CLUSTER, "x")
    assert talk.said() == []
    assert not talk.stream.settled
    talk.offer(of(CLUSTER, "pushed"), demand=Demand(clusters=frozenset({"x"})))
    assert talk.said() == [(CLUSTER, [], ["x"])]


def test_a_reconnecting_client_keeps_what_it_asked_for_until_an_offer_knows_of_it() -> None:
    talk = Talk()
    talk.offer(of(CLUSTER))
    talk.stream.receive(Request(type_url=CLUSTER, node="n", subscribe=("*", "x"), initial={"x": "1"}), 0)
    assert talk.said() == []
    talk.offer(of(CLUSTER), demand=Demand(clusters=frozenset({"x"})))
    assert talk.rest() == [(CLUSTER, [], ["x"])]


def test_a_virtual_host_that_does_not_exist_is_answered_so_that_its_requests_are() -> None:
    talk = Talk()
    talk.ask(VIRTUAL_HOST, "outbound/x")
    talk.offer(demand=Demand(hosts=frozenset({"x"})))
    [data] = talk.stream.take(0)
    [one] = discovery.DeltaDiscoveryResponse.FromString(data).resources
    assert (one.name, one.version, list(one.aliases), one.HasField("resource")) == (
        "outbound/x",
        ABSENT,
        ["outbound/x"],
        False,
    )
    talk.open.append(data)
    talk.answer()
    talk.offer(demand=Demand(hosts=frozenset({"x"})))
    assert talk.said() == []
    talk.offer(of(VIRTUAL_HOST, "outbound/x"), demand=Demand(hosts=frozenset({"x"})))
    assert talk.rest() == [(VIRTUAL_HOST, ["outbound/x"], [])]


def test_a_virtual_host_that_goes_away_is_removed_and_then_answered_as_absent() -> None:
    talk = Talk()
    demand = Demand(hosts=frozenset({"x"}))
    talk.ask(VIRTUAL_HOST, "outbound/x")
    talk.offer(of(VIRTUAL_HOST, "outbound/x"), demand=demand)
    talk.rest()
    talk.offer(demand=demand)
    assert talk.rest() == [(VIRTUAL_HOST, [], ["outbound/x"]), (VIRTUAL_HOST, ["outbound/x"], [])]


def test_a_virtual_host_that_a_request_waits_for_does_not_wait_for_clusters() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.ask(VIRTUAL_HOST, "outbound/x")
    demand = Demand(hosts=frozenset({"x"}))
    talk.offer(of(CLUSTER, "a"), of(VIRTUAL_HOST, "outbound/x"), demand=demand)
    assert talk.said() == [(CLUSTER, ["a"], []), (VIRTUAL_HOST, ["outbound/x"], [])]
    talk.answer()
    talk.offer(of(CLUSTER, "b"), of(VIRTUAL_HOST, "outbound/x", version="2"), demand=demand)
    assert talk.said() == [(CLUSTER, ["b"], [])]


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


@pytest.mark.parametrize(
    "request_",
    [
        Request(type_url=CLUSTER),
        Request(type_url=CLUSTER, node="n" * 600),
        Request(type_url="", node="n"),
        Request(type_url=CLUSTER, node="n", initial={str(number): "1" for number in range(7)}),
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
