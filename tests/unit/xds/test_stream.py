"""One test for each rule of the incremental protocol, and for the order and the answers beyond it."""

from __future__ import annotations

import pytest

from tests.support.delta import NO_DEMAND, Said, Talk, of, resource, resources
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
    Request,
    Resource,
    ResourceSet,
)
from weft.xds.stream import DeltaStream

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
    assert talk.rest() == []
    assert talk.stream.deadline(0) == talk.stream.limits.introduction_seconds
    talk.now = talk.stream.limits.introduction_seconds
    assert talk.rest() == [(CLUSTER, [], ["old"])]


def test_what_a_reconnecting_client_has_stays_while_more_that_it_says_waits_to_be_read() -> None:
    talk = Talk()
    talk.stream.expects(50.0)  # says nothing of a client that brought nothing
    talk.stream.receive(Request(type_url=CLUSTER, node="n", initial={"old": "1"}), 0)
    talk.stream.offer(ResourceSet(types={CLUSTER: {}}), NO_DEMAND, 0)
    talk.stream.expects(30.0)
    talk.now = 29.0
    assert talk.rest() == []
    talk.stream.receive(Request(type_url=ENDPOINTS, node="n", initial={"old": "1"}), 29.0)
    talk.now = 29.0 + talk.stream.limits.introduction_seconds
    assert (CLUSTER, [], ["old"]) in talk.rest()


def test_what_a_client_brings_is_not_removed_before_it_could_say_what_it_needs_it_for() -> None:
    talk = Talk()
    used, host = of(CLUSTER, "used"), of(VIRTUAL_HOST, "outbound/x")
    talk.stream.receive(Request(type_url=CLUSTER, node="n", initial={"used": used[1][0].version}), 0)
    talk.offer(of(CLUSTER))
    assert talk.rest() == []
    held = {"outbound/x": host[1][0].version}
    talk.stream.receive(Request(type_url=VIRTUAL_HOST, node="n", subscribe=("outbound/x",), initial=held), 0)
    talk.offer(used, host, demand=Demand(hosts=frozenset({"x"})))
    talk.now = 10
    assert talk.rest() == []
    assert talk.stream.settled


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
    talk.now = talk.stream.limits.introduction_seconds
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


def test_a_new_virtual_host_follows_the_endpoints_of_clusters_on_their_way() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.ask(ENDPOINTS)
    talk.ask(VIRTUAL_HOST, "outbound/x")
    demand = Demand(hosts=frozenset({"x"}))
    talk.offer(of(CLUSTER, "a"), of(ENDPOINTS, "a"), of(VIRTUAL_HOST, "outbound/x"), demand=demand)
    assert talk.said() == [(CLUSTER, ["a"], [])]
    talk.ask(ENDPOINTS, "a")
    assert talk.said() == [(ENDPOINTS, ["a"], []), (VIRTUAL_HOST, ["outbound/x"], [])]


def test_a_new_virtual_host_does_not_wait_for_endpoints_that_nobody_asks_for_once_the_clusters_are_acked() -> None:
    talk = Talk()
    talk.ask(CLUSTER)
    talk.ask(VIRTUAL_HOST, "outbound/x")
    demand = Demand(hosts=frozenset({"x"}))
    talk.offer(of(CLUSTER, "a"), of(ENDPOINTS, "a"), of(VIRTUAL_HOST, "outbound/x"), demand=demand)
    assert talk.said() == [(CLUSTER, ["a"], [])]
    talk.answer()
    assert talk.said() == [(VIRTUAL_HOST, ["outbound/x"], [])]
