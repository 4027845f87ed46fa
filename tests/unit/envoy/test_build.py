"""A proxy's resources from its view."""

from __future__ import annotations

import msgspec

from weft.envoy.build import build
from weft.memo import Memo
from weft.model.mesh import GatewayPort, OutboundTraffic
from weft.model.policy import ServicePolicy
from weft.model.route import Backend, HeaderEdit, Rule, VirtualHost
from weft.model.service import (
    Address,
    Capture,
    Endpoint,
    ExternalAddress,
    Placement,
    Protocol,
    State,
    WorkloadPort,
)
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Question, Text, TextKind
from weft.model.view import Assignment, BoundRoute, EdgePort, Upstream, View
from weft.names import OutboundCluster
from weft.values import Milliseconds
from weft.xds.protocol import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, VIRTUAL_HOST

A = OutboundCluster(80, "a.default.svc.cluster.local")
RULE = Rule(source="HTTPRoute/default/a/rules/0", backends=(Backend(A),))
PORT = WorkloadPort(
    number=80, name="http", protocol=Protocol.HTTP, listen=Address(path="/in"), application=Address(path="/app")
)
VIEW = View(
    node="sidecar/default/x",
    placement=Placement.SIDECAR,
    namespace="default",
    name="x",
    capture=Capture.TRANSPARENT,
    outbound=Address(ip="0.0.0.0", port=15001),
    hosts=(VirtualHost(domain="a", rules=(RULE,)),),
    upstreams=(Upstream(name=str(A), protocol=Protocol.HTTP, source="Service/default/a"),),
    assignments=(Assignment(name=str(A), endpoints=(Endpoint(Address(path="/e")),)),),
    inbound=(PORT,),
    missing_clusters=("tcp|240.0.0.1:1",),
)


def names(view: View) -> dict[str, list[str]]:
    built = build(view, Memo())
    assert built.problems == ()
    return {url.rpartition(".")[2]: list(named) for url, named in built.resources.types.items()}


def test_a_sidecar_has_its_constants_its_inbound_and_what_it_asked_for() -> None:
    assert names(VIEW) == {
        "Cluster": [str(A), "tcp|240.0.0.1:1", "inbound|80||"],
        "ClusterLoadAssignment": [str(A)],
        "Listener": ["outbound", "outbound-opaque", "hbone", "inbound|80"],
        "TypedExtensionConfig": [],
        "RouteConfiguration": ["outbound"],
        "VirtualHost": ["outbound/a"],
    }


def test_policy_is_delivered_for_every_guarded_port_that_understands_requests() -> None:
    tcp = msgspec.structs.replace(PORT, number=81, protocol=Protocol.TCP)
    view = msgspec.structs.replace(VIEW, inbound=(PORT, tcp), guards=((80, Guard()), (81, Guard())))
    assert names(view)["TypedExtensionConfig"] == ["inbound|80/policy"]


def test_a_policy_that_envoy_would_refuse_lets_nothing_pass_and_says_so() -> None:
    long = Text(TextKind.REGEX, "a" * 2_000)
    rule = AuthRule(source="TrafficTarget/a/b/rules/0", operations=((Question(Attribute.PATH, (long,)),),))
    policy = AuthPolicy(source="TrafficTarget/a/b", action=Action.ALLOW, rules=(rule,))
    built = build(msgspec.structs.replace(VIEW, guards=((80, Guard(policies=(policy,))),)), Memo())
    assert [(each.code, each.origin.source) for each in built.problems] == [("WFT-1430", "TrafficTarget/a/b/rules/0")]
    [resource] = built.resources.of(EXTENSION).values()
    assert b"TrafficTarget" not in resource.wire
    assert b"envoy.filters.http.rbac.deny" in resource.wire


def test_an_edge_has_a_listener_and_routes_per_port() -> None:
    port = GatewayPort(number=80, protocol=Protocol.HTTP, hosts=(VirtualHost(domain="*", rules=(RULE,)),))
    view = msgspec.structs.replace(
        VIEW,
        placement=Placement.GATEWAY,
        outbound=None,
        hosts=(),
        inbound=(),
        missing_clusters=(),
        edge=(EdgePort(listen=Address(path="/g"), port=port),),
    )
    made = names(view)
    assert made["Listener"] == made["RouteConfiguration"] == ["gateway|80|default/x"]


def test_a_cluster_without_an_assignment_gets_an_empty_one_and_an_external_one_none() -> None:
    outside = Upstream(name="o", protocol=Protocol.TCP, source="", dns=(ExternalAddress("192.0.2.1", 1),))
    view = msgspec.structs.replace(VIEW, assignments=(), upstreams=(*VIEW.upstreams, outside))
    assert names(view)["ClusterLoadAssignment"] == [str(A)]


def test_passing_through_and_the_way_out_appear_when_they_are_needed() -> None:
    view = msgspec.structs.replace(
        VIEW,
        egress=Address(path="/egress"),
        outbound_traffic=OutboundTraffic.ALLOW_ANY,
        hosts=(VirtualHost(domain="any", passthrough=True),),
    )
    made = names(view)
    assert {"passthrough", "egress"} <= set(made["Cluster"])
    assert "tunnel" in made["Listener"]


def test_a_bound_port_is_a_listener() -> None:
    bound = BoundRoute(listen=Address(path="/b"), service="db", port=1, protocol=Protocol.TCP, cluster=str(A))
    assert "bound|1|db" in names(msgspec.structs.replace(VIEW, bound=(bound,)))["Listener"]


def test_an_unchanged_view_is_built_from_memory_and_gives_the_same_objects() -> None:
    memo = Memo()
    first = build(VIEW, memo).resources
    memo.turn()
    second = build(msgspec.structs.replace(VIEW), memo).resources
    assert memo.built == 0
    for url, named in first.types.items():
        assert all(second.of(url)[name] is resource for name, resource in named.items())


def test_a_change_rebuilds_only_what_it_changes() -> None:
    memo = Memo()
    before = build(VIEW, memo).resources
    memo.turn()
    ends = (Assignment(name=str(A), endpoints=(Endpoint(Address(path="/other")),)),)
    draining = msgspec.structs.replace(PORT, state=State.DRAINING)
    after = build(msgspec.structs.replace(VIEW, assignments=ends, inbound=(draining,)), memo).resources
    for url in (CLUSTER, LISTENER, ROUTES, VIRTUAL_HOST):
        assert before.of(url) == after.of(url)
    assert before.of(ENDPOINTS) != after.of(ENDPOINTS)


def test_two_processes_give_the_same_versions() -> None:
    one, two = build(VIEW, Memo()).resources, build(VIEW, Memo()).resources
    assert {url: dict(named) for url, named in one.types.items()} == {
        url: dict(named) for url, named in two.types.items()
    }


def test_what_envoy_would_refuse_is_replaced_or_left_out_and_said() -> None:
    bad = Rule(source="bad", backends=(Backend(A),), request_headers=HeaderEdit(set=(("x\n", "v"),)))
    policy = ServicePolicy(connect_timeout=Milliseconds(-1))
    wrong = Upstream(name="wrong", protocol=Protocol.TCP, source="Service/default/wrong", policy=policy)
    view = msgspec.structs.replace(
        VIEW, hosts=(VirtualHost(domain="a", rules=(bad, RULE)),), upstreams=(*VIEW.upstreams, wrong)
    )
    built = build(view, Memo())
    assert "wrong" not in built.resources.of(CLUSTER)
    assert "outbound/a" in built.resources.of(VIRTUAL_HOST)
    assert {problem.origin.source for problem in built.problems} == {"bad", "Service/default/wrong"}


def test_an_edges_route_to_nothing_is_said() -> None:
    port = GatewayPort(number=80, protocol=Protocol.HTTP, hosts=(VirtualHost(domain="*", rules=(RULE,)),))
    view = msgspec.structs.replace(
        VIEW, upstreams=(), assignments=(), edge=(EdgePort(listen=Address(path="/g"), port=port),)
    )
    [problem] = build(view, Memo()).problems
    assert (problem.code, problem.origin.source) == ("WFT-1402", RULE.source)


def test_proxies_that_call_the_same_share_one_mapping_of_each_type() -> None:
    memo = Memo()
    one = build(VIEW, memo).resources
    two = build(msgspec.structs.replace(VIEW, node="sidecar/default/y", name="y"), memo).resources
    assert one.of(VIRTUAL_HOST) is two.of(VIRTUAL_HOST)
    assert one.of(ENDPOINTS) is two.of(ENDPOINTS)


def test_a_type_in_which_nothing_changed_stays_the_same_mapping() -> None:
    memo = Memo()
    before = build(VIEW, memo).resources
    memo.turn()
    after = build(msgspec.structs.replace(VIEW, hosts=(VirtualHost(domain="b", rules=(RULE,)),)), memo).resources
    for url in (CLUSTER, ENDPOINTS, LISTENER, ROUTES):
        assert before.of(url) is after.of(url)
    assert list(after.of(VIRTUAL_HOST)) == ["outbound/b"]
