from __future__ import annotations

from weft.model.demand import BareInput, bare_host, clusters_of, outbound_input, passed_on, target, tcp_input
from weft.model.resolve import Names
from weft.model.route import Backend, Mirror, Rule
from weft.model.service import ExternalAddress, Protocol, Service, ServicePort
from weft.names import OutboundCluster, ServiceKey

PORTS = (ServicePort(80, "http", Protocol.HTTP, 443), ServicePort(53, "dns", Protocol.UDP, 53))
OUT = Service(
    ServiceKey("n", "out"),
    PORTS,
    "",
    "Mesh/n/m/external/out",
    hosts=("api.example.com", "*.example.org"),
    external=(ExternalAddress("api.example.com", 443), ExternalAddress("*.example.org", 443)),
    originate_tls=True,
)
DB = Service(
    ServiceKey("n", "db"),
    (ServicePort(5432, "", Protocol.TCP, 5432),),
    "",
    "",
    hosts=("db.example.com",),
    external=(ExternalAddress("10.0.0.9", 15432),),
)
IN = Service(ServiceKey("n", "in"), PORTS, "240.0.1.1", "Service/n/in")
NAMES = Names(
    {each.key: each for each in (OUT, DB, IN)},
    {host: each.key for each in (OUT, DB) for host in each.hosts},
    {"240.0.1.1": IN.key, "240.0.1.2": DB.key},
)


def outbound(port: int, host: str, subset: str = "") -> OutboundCluster:
    return OutboundCluster(port=port, host=host, subset=subset)


def test_a_service_of_the_mesh_has_endpoints_and_no_dns() -> None:
    made = outbound_input(NAMES, {}, outbound(80, IN.key.host), "/egress")
    assert made is not None
    found = target(made)
    assert found.endpoints == (IN.key, 80)
    assert (found.upstream.dns, found.upstream.tunnel, found.upstream.source) == ((), "", "Service/n/in")


def test_an_external_service_is_found_by_the_name_it_was_called_by() -> None:
    for host in ("api.example.com", "a.b.example.org"):
        made = outbound_input(NAMES, {}, outbound(80, host), "/egress")
        assert made is not None
        found = target(made)
        assert found.endpoints is None
        assert found.upstream.dns == (ExternalAddress(host, 443),)
        assert (found.upstream.tls_name, found.upstream.tunnel) == (host, "/egress")


def test_called_by_its_name_in_the_mesh_it_is_its_first_host() -> None:
    made = outbound_input(NAMES, {}, outbound(80, OUT.key.host), "")
    assert made is not None
    assert target(made).upstream.dns == (ExternalAddress("api.example.com", 443),)


def test_endpoints_that_were_written_win_over_dns() -> None:
    made = tcp_input(NAMES, {}, "tcp|240.0.1.2:5432", "")
    assert made is not None
    assert target(made).upstream.dns == (ExternalAddress("10.0.0.9", 15432),)


def test_what_does_not_exist_has_no_cluster() -> None:
    for cluster in (
        outbound(81, IN.key.host),
        outbound(53, IN.key.host),
        outbound(80, "x.n.svc.cluster.local"),
        outbound(80, IN.key.host, "v1"),
    ):
        assert outbound_input(NAMES, {}, cluster, "") is None
    assert tcp_input(NAMES, {}, "tcp|240.0.1.1:81", "") is None
    assert tcp_input(NAMES, {}, "other", "") is None


def test_a_connection_to_a_virtual_address_is_tcp_whatever_the_port_speaks() -> None:
    made = tcp_input(NAMES, {}, "tcp|240.0.1.1:80", "")
    assert made is not None
    assert target(made).upstream.protocol is Protocol.TCP


def test_what_nobody_has_is_passed_on_unless_it_is_a_virtual_address() -> None:
    found = passed_on("tcp|10.1.2.3:5432", "/egress")
    assert found is not None
    assert (found.upstream.dns, found.upstream.tunnel) == ((ExternalAddress("10.1.2.3", 5432),), "/egress")
    assert passed_on("tcp|240.0.9.9:80", "") is None
    assert passed_on("nonsense", "") is None


def test_an_external_service_called_by_its_mesh_name_hears_its_own() -> None:
    rewritten = bare_host(BareInput("out", "out", OUT, 80)).rules[0].rewrite
    assert rewritten is not None
    assert rewritten.host == "api.example.com"
    assert bare_host(BareInput("api.example.com", "api.example.com", OUT, 80)).rules[0].rewrite is None
    assert bare_host(BareInput("in", "in", IN, 80)).rules[0].rewrite is None


def test_the_clusters_of_rules_are_those_that_can_receive_something() -> None:
    one, two, three = (outbound(80, name) for name in ("a", "b", "c"))
    rule = Rule(
        "r", backends=(Backend(one), Backend(None), Backend(two, weight=0), Backend(one)), mirrors=(Mirror(three),)
    )
    assert clusters_of((rule,)) == (one, three)
