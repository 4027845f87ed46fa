from __future__ import annotations

from tests.support.compiled import compiled, edge, host, route, seen, service, workload
from weft.memo import Memo
from weft.model.mesh import OutboundTraffic
from weft.model.service import Address, BoundPort, Placement, Protocol, State
from weft.model.trust import Shape
from weft.model.view import Demand
from weft.model.viewing import UNKNOWN_TEXTS, view

ECHO = service("echo")
TCP = (
    "apiVersion: v1\nkind: Service\nmetadata: {name: redis}\nspec: {selector: {app: redis},"
    " ports: [{name: redis, port: 6379, targetPort: 8080}]}\n---\n"
)
ANY = "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {name: m}\nspec: {outboundTraffic: allowAny}\n---\n"
EXTERNAL = (
    "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {name: m}\nspec: {external: {out: {hostnames: [api.example.com],"
    " ports: [{port: 80, protocol: http}]}}}\n---\n"
)
OUTSIDE = EXTERNAL.replace(
    "{out:", "{db: {hostnames: [db.example.com], ports: [{port: 5432}], endpoints: ['192.0.2.1:25']}, out:"
)
NODE = "sidecar/default/web"


def test_a_proxy_that_nobody_registered_has_no_view() -> None:
    assert view(compiled(ECHO).mesh, NODE, Demand(), Memo()) is None


def test_a_view_is_the_workloads_and_nothing_more_until_it_asks() -> None:
    found = seen(compiled(ECHO, workloads=(workload("web"),)), "web")
    assert (found.node, found.hosts, found.upstreams, found.assignments) == (NODE, (), (), ())
    assert [port.number for port in found.inbound] == [8080]
    assert found.outbound == Address(ip="127.0.0.1", port=15001)


def test_every_name_asked_for_is_answered_known_or_not() -> None:
    found = seen(compiled(ECHO, workloads=(workload("web"),)), "web", "echo", "ecko:80")
    assert [each.domain for each in found.hosts] == ["echo", "ecko:80"]
    assert "nearest names: echo.default" in host(found, "ecko:80").unknown


def test_unknown_names_beyond_the_cap_are_answered_without_a_text() -> None:
    asked = [f"unknown-{number:03}" for number in range(UNKNOWN_TEXTS + 2)]
    found = seen(compiled(ECHO, workloads=(workload("web"),)), "web", *asked, "echo")
    assert sum(bool(each.unknown) for each in found.hosts) == UNKNOWN_TEXTS
    assert len(found.hosts) == UNKNOWN_TEXTS + 3


def test_endpoints_come_with_their_clusters_and_drain() -> None:
    old = workload("echo-0", labels={"app": "echo"})
    (port,) = old.ports
    draining = type(port)(
        port.number, port.name, port.protocol, Address(path="/run/d"), port.application, State.DRAINING
    )
    starting = type(port)(
        port.number, port.name, port.protocol, Address(path="/run/s"), port.application, State.STARTING
    )
    made = compiled(
        ECHO,
        workloads=(
            workload("web"),
            old,
            workload("echo-1", labels={"app": "echo"}, ports=(draining,)),
            workload("echo-2", labels={"app": "echo"}, ports=(starting,)),
        ),
    )
    (assignment,) = seen(made, "web", "echo").assignments
    assert [(each.address.path, each.draining, each.workload) for each in assignment.endpoints] == [
        ("/run/d", True, "default/echo-1"),
        ("/run/echo-0", False, "default/echo-0"),
    ]


def test_a_tcp_connection_gets_its_cluster_by_address() -> None:
    made = compiled(TCP, workloads=(workload("web"), workload("redis")))
    address = next(iter(made.mesh.addresses))
    found = seen(
        made,
        "web",
        clusters=(f"tcp|{address}:6379", f"tcp|{address}:1", "outbound|6379||redis.default.svc.cluster.local"),
    )
    assert [(each.name, each.protocol) for each in found.upstreams] == [
        ("outbound|6379||redis.default.svc.cluster.local", Protocol.TCP),
        (f"tcp|{address}:6379", Protocol.TCP),
    ]
    assert len(found.assignments[1].endpoints) == 1
    assert found.missing_clusters == (f"tcp|{address}:1",)


def test_tunnels_that_were_asked_for_and_are_not_there_are_not_missing() -> None:
    """An empty cluster instead would refuse what still goes to them, or goes there already."""
    made = compiled(TCP, workloads=(workload("web"), workload("redis")))
    name = f"tcp|{next(iter(made.mesh.addresses))}:6379"
    found = seen(made, "web", clusters=(name, f"tunnel|{name}"))
    assert [(each.name, each.pooled) for each in found.upstreams] == [(name, False)]
    assert found.missing_clusters == ()


def test_any_traffic_is_passed_on_when_the_mesh_says_so() -> None:
    egress = Address(path="/run/egress")
    made = compiled(ECHO, ANY, workloads=(workload("web", egress=egress),))
    found = seen(made, "web", "unknown.example.com", "echo:81", clusters=("tcp|10.0.0.1:80", "tcp|250.0.0.1:80"))
    assert found.outbound_traffic is OutboundTraffic.ALLOW_ANY
    assert host(found, "unknown.example.com").passthrough
    assert "has no port 81" in host(found, "echo:81").unknown
    assert [(each.name, each.tunnel) for each in found.upstreams] == [("tcp|10.0.0.1:80", "/run/egress")]
    assert (found.missing_clusters, found.egress) == (("tcp|250.0.0.1:80",), egress)


def test_the_outside_is_reached_through_the_egress_proxy() -> None:
    made = compiled(EXTERNAL, workloads=(workload("web", egress=Address(path="/run/egress")),))
    (upstream,) = seen(made, "web", "api.example.com").upstreams
    assert (upstream.name, upstream.tunnel, upstream.dns[0].host) == (
        "outbound|80||api.example.com",
        "/run/egress",
        "api.example.com",
    )


def test_bound_ports_stand_for_their_service() -> None:
    bound = tuple(
        BoundPort(name, port, Address(ip="127.0.0.1", port=20000 + at))
        for at, (name, port) in enumerate([("echo", 80), ("redis", 6379), ("gone", 80)])
    )
    found = seen(compiled(ECHO, TCP, workloads=(workload("web", bound=bound),)), "web")
    by_name = {each.service: each for each in found.bound}
    assert by_name["echo"].host is not None
    assert by_name["echo"].host.domain == "*"
    assert by_name["redis"].cluster == "outbound|6379||redis.default.svc.cluster.local"
    assert by_name["gone"].host is not None
    assert "nothing in the mesh" in by_name["gone"].host.unknown
    assert len(found.upstreams) == 2


def test_an_egress_proxy_sees_nothing_of_the_mesh() -> None:
    proxy = workload("out", placement=Placement.EGRESS)
    for words in ((ECHO,), (ECHO, ANY)):
        found = seen(compiled(*words, workloads=(proxy,)), "out", "echo.default", placement="egress")
        assert "the way out" in host(found, "echo.default").unknown
        assert (found.upstreams, found.inbound) == ((), ())


def test_an_egress_proxy_leads_to_what_is_declared_and_follows_no_routes_again() -> None:
    proxy = workload("out", placement=Placement.EGRESS, egress=None)
    ways = ("api.example.com", "192.0.2.1:25", "192.0.2.1:26", "db.example.com:5432")
    moved = route(
        "r", "{parentRefs: [{group: '', kind: Service, name: out}], rules: [{backendRefs: [{name: echo, port: 80}]}]}"
    )
    found = seen(compiled(ECHO, OUTSIDE, moved, workloads=(proxy,)), "out", *ways, placement="egress")
    assert {each.name: [f"{at.host}:{at.port}" for at in each.dns] for each in found.upstreams} == {
        "outbound|80||api.example.com": ["api.example.com:80"],
        "outbound|25||192.0.2.1": ["192.0.2.1:25"],
        "outbound|5432||db.example.com": ["192.0.2.1:25"],
    }
    assert {each.tunnel for each in found.upstreams} == {""}
    assert "nothing in the mesh" in host(found, "192.0.2.1:26").unknown
    assert host(seen(compiled(ANY, workloads=(proxy,)), "out", ways[2], placement="egress"), ways[2]).passthrough


def test_an_edge_without_its_gateway_has_no_ports() -> None:
    assert seen(compiled(ECHO, workloads=(edge("gone", 80),)), "gone", placement="gateway").edge == ()


def test_an_edge_pools_requests_where_an_application_passes_them_on_as_bytes() -> None:
    name = "outbound|80||echo.default.svc.cluster.local"
    made = compiled(ECHO, workloads=(edge("edge", 80), workload("web"), workload("echo-0", labels={"app": "echo"})))

    def shape(caller: str, placement: str) -> Shape:
        (found,) = seen(made, caller, clusters=(name,), placement=placement).upstreams
        return found.shape

    assert (shape("edge", "gateway"), shape("web", "sidecar")) == (Shape.HTTP, Shape.RAW)


def test_a_route_to_a_removed_service_leaves_its_cluster_missing() -> None:
    found = seen(
        compiled(ECHO, workloads=(workload("web"),)),
        "web",
        clusters=("outbound|80||gone.default.svc.cluster.local", "odd"),
    )
    assert found.missing_clusters == ("odd", "outbound|80||gone.default.svc.cluster.local")


def test_an_unrelated_change_leaves_a_view_the_same_object() -> None:
    memo = Memo()
    demand = Demand(frozenset({"echo"}))
    split = "{parentRefs: [{group: '', kind: Service, name: echo}], rules: [{backendRefs: [{name: echo, port: 80}]}]}"
    first = view(compiled(ECHO, route("r", split), workloads=(workload("web"),), memo=memo).mesh, NODE, demand, memo)
    memo.turn()
    changed = compiled(
        ECHO, route("r", split), service("other"), workloads=(workload("web"), workload("other")), memo=memo
    )
    assert view(changed.mesh, NODE, demand, memo) is first
    memo.turn()
    changed = compiled(ECHO, service("other"), workloads=(workload("web"), workload("other")), memo=memo)
    second = view(changed.mesh, NODE, demand, memo)
    assert second is not None
    assert second != first


def test_proxies_that_ask_for_the_same_share_what_they_see() -> None:
    mesh = compiled(ECHO, workloads=(workload("web"), workload("web-2"), workload("echo"))).mesh
    memo = Memo()
    demand = Demand(hosts=frozenset({"echo"}))
    one, two = (view(mesh, f"sidecar/default/{name}", demand, memo) for name in ("web", "web-2"))
    assert one is not None
    assert two is not None
    assert one.name != two.name
    assert one.hosts is two.hosts
    assert one.assignments is two.assignments


CLOSED_ECHO = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-cart}
spec:
  selector: {matchLabels: {app: echo}}
  rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/cart]}}]}]
---
"""


def test_a_caller_that_every_callee_refuses_for_who_it_is_is_told_why() -> None:
    callers = (workload("web", service_account="web"), workload("cart", service_account="cart"), workload("echo"))
    made = compiled(ECHO, CLOSED_ECHO, workloads=callers)
    refused = seen(made, "web", "echo")
    reason = "no rule of AuthorizationPolicy/default/only-cart allows it"
    assert (
        host(refused, "echo").refused == f"weft: spiffe://local/ns/default/sa/web may not call echo.default: {reason}"
    )
    assert host(seen(made, "cart", "echo"), "echo").refused == ""
    # Its clusters are there all the same: when the policy goes, nothing has to be asked for.
    assert len(refused.upstreams) == 1


def test_a_route_that_leads_elsewhere_too_refuses_nobody_beforehand() -> None:
    callers = (workload("web", service_account="web"), workload("echo"), workload("other"))
    backends = "[{name: echo, port: 80}, {name: other, port: 80}]"
    parent = "[{group: '', kind: Service, name: echo}]"
    shared = route("split", f"{{parentRefs: {parent}, rules: [{{backendRefs: {backends}}}]}}")
    made = compiled(ECHO, service("other"), CLOSED_ECHO, shared, workloads=callers)
    assert host(seen(made, "web", "echo"), "echo").refused == ""
