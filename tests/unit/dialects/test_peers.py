"""How callers reach each port of each service."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.compiled import bare, compiled, objects, service
from tests.support.policies import both, mesh, peer, policy, port, reached, tcp_service
from weft.dialects.compile import compile_world
from weft.dialects.peers import Behind, PeersInput, make_peers
from weft.dialects.values import Compiled, Input
from weft.memo import Memo
from weft.model.service import HostReport, Protocol, Workload
from weft.model.trust import Action, AuthPolicy, AuthRule, Guard, Peers, Shape, TlsMode, Trust
from weft.names import ServiceKey

ECHO = service("echo")
REDIS = tcp_service("redis", "echo")
PATHS = "{rules: [{to: [{operation: {paths: [/a]}}]}]}"
WHO = "{rules: [{from: [{source: {namespaces: [shop]}}]}]}"
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: echo-1, labels: {kubernetes.io/service-name: echo}}
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.1]}]
---
"""


NOBODY = ((), Shape.PLAIN, False, "")


def plainly(peers: Peers) -> tuple[tuple[str, ...], Shape, bool, str]:
    """Without the words for people."""
    return peers.identities, peers.shape, peers.mixed, peers.epoch


def shapes(*texts: str, workloads: tuple[Workload, ...] | None = None) -> tuple[Shape, Shape]:
    """The shapes of the HTTP port and of the other."""
    made = compiled(ECHO, REDIS, *texts, workloads=(both("echo"),) if workloads is None else workloads)
    return reached(made, "echo").shape, reached(made, "redis", 6379).shape


def trusted(trust: Trust, *texts: str) -> Compiled:
    report = HostReport(host="here", workloads=(both("echo"),))
    return compile_world(Input(objects(ECHO, REDIS, *texts), (report,), trust=trust), Memo())


def test_http_goes_raw_until_somebody_asks_about_requests_and_the_rest_in_tunnels() -> None:
    assert shapes() == (Shape.RAW, Shape.TUNNEL)
    assert shapes(policy("p", WHO)) == (Shape.RAW, Shape.TUNNEL)
    assert shapes(policy("p", PATHS)) == (Shape.HTTP, Shape.TUNNEL)


def test_an_authorizer_of_connections_is_asked_about_each_and_not_about_a_tunnel_of_many() -> None:
    opa = mesh("{providers: {opa: {grpc: {service: echo, port: 80}}}}")
    asked = policy("p", "{action: CUSTOM, provider: {name: opa}, rules: [{}]}")
    assert shapes(opa, asked) == (Shape.HTTP, Shape.RAW)
    made = compiled(ECHO, REDIS, opa, asked, workloads=(both("echo"),))
    assert reached(made, "redis", 6379).why == "AuthorizationPolicy/default/p"


def test_one_workload_that_asks_about_requests_is_enough() -> None:
    alike = {"labels": (("app", "echo"), ("version", "v1"))}
    selected = policy("p", PATHS.replace("{rules", "{selector: {matchLabels: {version: v1}}, rules", 1))
    workloads = (both("echo"), both("echo-1", **alike))
    assert shapes(selected, workloads=workloads) == (Shape.HTTP, Shape.TUNNEL)


def test_http_would_be_understood_where_everything_behind_has_a_proxy_and_speaks_it() -> None:
    alike = {"labels": (("app", "echo"),)}
    tcp = both("b", ports=(port(8080, Protocol.TCP, "http"),), **alike)
    strict = peer("strict", "{mtls: {mode: STRICT}}")
    off = peer("off", "{selector: {matchLabels: {app: echo}}, portLevelMtls: {8080: {mode: DISABLE}}}")

    def speaks(*texts: str, more: tuple[Workload, ...] = ()) -> tuple[bool, bool]:
        made = compiled(ECHO, REDIS, *texts, workloads=(both("echo"), *more))
        return reached(made, "echo").speaks_http, reached(made, "redis", 6379).speaks_http

    assert speaks() == speaks(strict) == speaks(policy("p", PATHS)) == (True, False)
    assert speaks(more=(bare(both("bare", **alike)),)) == (False, False)
    assert speaks(more=(tcp,)) == speaks(off) == speaks(SLICE) == (False, False)


def test_without_a_proxy_nothing_is_secured() -> None:
    assert shapes(workloads=()) == (Shape.PLAIN, Shape.PLAIN)
    assert shapes(workloads=(bare(both("echo")),)) == (Shape.PLAIN, Shape.PLAIN)
    assert shapes(SLICE, workloads=()) == (Shape.PLAIN, Shape.PLAIN)
    assert plainly(reached(compiled(ECHO, SLICE), "echo")) == NOBODY


def test_some_endpoints_without_a_proxy_make_it_mixed_and_raw() -> None:
    without = bare(both("bare", labels=(("app", "echo"),)))
    for made in (
        compiled(ECHO, REDIS, workloads=(both("echo"), without)),
        compiled(ECHO, REDIS, policy("p", PATHS), workloads=(both("echo"), without)),
    ):
        assert (reached(made, "echo").mixed, reached(made, "echo").shape) == (True, Shape.RAW)
        assert (reached(made, "redis", 6379).mixed, reached(made, "redis", 6379).shape) == (True, Shape.RAW)
    made = compiled(ECHO, REDIS, SLICE, workloads=(both("echo"),))
    assert (reached(made, "echo").mixed, reached(made, "redis", 6379).mixed) == (True, False)


def test_a_port_in_mode_disable_is_reached_in_the_clear() -> None:
    made = compiled(ECHO, REDIS, peer("off", "{mtls: {mode: DISABLE}}"), workloads=(both("echo"),))
    assert plainly(reached(made, "echo")) == NOBODY
    (endpoint,) = made.mesh.endpoints[ServiceKey("default", "echo"), 80]
    assert endpoint.name == ""
    spec = "{selector: {matchLabels: {app: echo}}, portLevelMtls: {6379: {mode: DISABLE}}}"
    one = compiled(ECHO, REDIS, peer("off", spec), workloads=(both("echo"),))
    assert (reached(one, "echo").shape, reached(one, "redis", 6379).shape) == (Shape.RAW, Shape.PLAIN)
    names = [each.name for found in one.mesh.endpoints.values() for each in found]
    assert sorted(names) == ["", "8080.echo.default.here.h.weft"]


def test_protocols_that_disagree_go_raw_because_the_callee_decides() -> None:
    raw = both("echo", ports=(port(8080, Protocol.TCP, "http"), port(6379, Protocol.HTTP, "tcp")))
    assert shapes(workloads=(raw,)) == (Shape.RAW, Shape.RAW)
    assert shapes(workloads=(raw, both("b", labels=(("app", "echo"),)))) == (Shape.RAW, Shape.RAW)


def test_identities_are_those_of_all_workloads_behind_a_name_reported_or_declared() -> None:
    declared = mesh("{}", "{echo: {port: 80, command: a, serviceAccount: told}}")
    workloads = (
        both("echo", service_account="web"),
        both("b", labels=(("app", "echo"),)),
        both("other", service_account="other"),
        bare(both("bare", labels=(("app", "echo"),), service_account="bare")),
    )
    made = compiled(declared, workloads=workloads)
    assert reached(made, "echo").identities == ("spiffe://local/ns/default/sa/told",)
    made = compiled(ECHO, declared.replace("port: 80", "port: 8080"), workloads=workloads)
    assert reached(made, "echo").identities == (
        "spiffe://local/ns/default/sa/default",
        "spiffe://local/ns/default/sa/told",
        "spiffe://local/ns/default/sa/web",
    )


def test_what_shall_run_has_its_shape_before_it_reports() -> None:
    declared = mesh("{}", "{echo: {port: 80, command: a}, none: {port: 80, command: a, capture: none}}")
    made = compiled(declared, policy("p", PATHS))
    assert plainly(reached(made, "echo")) == (("spiffe://local/ns/default/sa/echo",), Shape.HTTP, False, "")
    found = plainly(reached(made, "none"))
    assert found == (("spiffe://local/ns/default/sa/none",), Shape.HTTP, False, ""), "called by its proxy as any other"


def test_the_trust_domain_and_bans_come_from_the_authority() -> None:
    made = trusted(Trust("example.org", banned=("spiffe://example.org/ns/default/sa/web",)))
    assert made.mesh.trust.domain == "example.org"
    assert reached(made, "echo").identities == ("spiffe://example.org/ns/default/sa/default",)


def test_an_epoch_changes_with_what_is_decided_on_connections_and_with_nothing_else() -> None:
    plain = trusted(Trust())
    assert (reached(plain, "echo").epoch, reached(plain, "redis", 6379).epoch) == ("", "")
    who = trusted(Trust(), policy("p", WHO))
    assert len(reached(who, "echo").epoch) == 12
    other = trusted(Trust(), policy("p", WHO.replace("shop", "other")))
    assert reached(other, "echo").epoch not in ("", reached(who, "echo").epoch)
    assert reached(trusted(Trust(), policy("p", WHO)), "echo") == reached(who, "echo")
    paths = trusted(Trust(), policy("p", PATHS))
    assert reached(paths, "echo").epoch == ""
    assert reached(paths, "redis", 6379).epoch != ""
    for quiet in (
        policy("p", WHO, more=", annotations: {istio.io/dry-run: 'true'}"),
        policy("p", WHO.replace("{rules", "{action: AUDIT, rules", 1)),
        peer("strict", "{mtls: {mode: STRICT}}"),
    ):
        assert reached(trusted(Trust(), quiet), "echo").epoch == ""
    assert reached(trusted(Trust(), mesh("{default: deny}")), "echo").epoch != ""


def test_a_ban_changes_every_epoch() -> None:
    for texts in ((), (policy("p", PATHS),)):
        epochs = {reached(trusted(Trust(banned=banned), *texts), "echo").epoch for banned in ((), ("a",), ("a", "b"))}
        assert len(epochs) == 3


def test_services_outside_the_mesh_and_udp_ports_have_no_peers() -> None:
    outside = (
        "apiVersion: v1\nkind: Service\nmetadata: {name: o}\nspec: {type: ExternalName, externalName: a.example}\n---\n"
    )
    udp = "apiVersion: v1\nkind: Service\nmetadata: {name: u}\nspec: {ports: [{port: 53, protocol: UDP}]}\n"
    assert dict(compiled(outside, udp).mesh.peers) == {}


@pytest.mark.parametrize("mode", list(TlsMode))
def test_peers_are_made_of_one_value(mode: TlsMode) -> None:
    guard = Guard(mode=mode, policies=(AuthPolicy("p", Action.DENY, (AuthRule("p/rules/0"),)),))
    behind = Behind("shop/web", True, True, guard)
    found = make_peers(PeersInput(True, False, (behind,), Trust()))
    if mode is TlsMode.DISABLE:
        assert plainly(found) == NOBODY
    else:
        assert (found.identities, found.shape) == (("spiffe://local/ns/shop/sa/web",), Shape.RAW)
    bare = msgspec.structs.replace(behind, proxied=False)
    assert plainly(make_peers(PeersInput(True, False, (bare,), Trust()))) == NOBODY
