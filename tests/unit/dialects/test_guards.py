"""What guards each port of each workload."""

from __future__ import annotations

import itertools

import msgspec

from tests.support.compiled import bare, codes, compiled, gateway, objects, service, workload
from tests.support.policies import both, guard, istio, mesh, only, policy, sources
from weft.dialects.compile import compile_world
from weft.dialects.guards import (
    GATEWAY_LABELS,
    Member,
    declared_members,
    gateway_subject,
    guarded,
    host_members,
)
from weft.dialects.istio.peer_authentication import NamespaceModes
from weft.dialects.policies import Scope, Subject, SubjectPort, placed
from weft.dialects.reach import Applying
from weft.dialects.values import Input
from weft.memo import Memo
from weft.model.mesh import PortSpec, ProcessSpec
from weft.model.service import HostReport, Protocol, State
from weft.model.trust import Action, AuthPolicy, AuthRule, Guard
from weft.names import ServiceKey
from weft.values import Ref

OPA = mesh("{providers: {opa: {grpc: {service: opa, port: 80}}, ask: {http: {service: opa, port: 80}}}}") + service(
    "opa"
)
POST = "{action: DENY, rules: [{from: [{source: {namespaces: [shop]}}], to: [{operation: {methods: [POST]}}]}]}"


def test_a_workload_without_policies_has_an_open_guard_at_every_port() -> None:
    made = compiled(workloads=(both("echo"),))
    assert made.mesh.guards["default", "echo"] == ((6379, Guard()), (8080, Guard()))


def test_policies_stand_in_the_order_of_their_names_whatever_their_order() -> None:
    texts = [policy(name, "{rules: [{}]}") for name in ("b", "a", "c")]
    found = {
        tuple(sources(compiled(*order, workloads=(both("echo"),)), "echo")) for order in itertools.permutations(texts)
    }
    assert found == {("default/a", "default/b", "default/c")}


def test_a_guard_holds_what_its_port_can_ask() -> None:
    made = compiled(policy("post", POST), workloads=(both("echo"),))
    assert len(only(made, "echo").rules[0].questions) == 2
    assert only(made, "echo", 6379).rules[0].operations == ()
    assert guard(made, "echo").needs_http
    assert not guard(made, "echo", 6379).needs_http


def test_a_rule_for_a_port_is_in_the_guard_of_that_port_alone() -> None:
    made = compiled(
        policy("p", "{action: DENY, rules: [{to: [{operation: {ports: ['6379']}}]}]}"), workloads=(both("echo"),)
    )
    assert sources(made, "echo") == []
    assert only(made, "echo", 6379).rules[0].questions == ()
    allow = compiled(policy("p", "{rules: [{to: [{operation: {ports: ['6379']}}]}]}"), workloads=(both("echo"),))
    assert only(allow, "echo").rules == ()


def test_default_deny_is_for_workloads_and_leaves_gateways_open() -> None:
    made = compiled(
        mesh("{default: deny}"), gateway("edge", "[{name: a, port: 80, protocol: HTTP}]"), workloads=(both("echo"),)
    )
    assert guard(made, "echo").default_deny
    assert guard(made, "echo", 6379).default_deny
    assert not made.mesh.gateway_guards["default", "edge"].default_deny


def test_a_gateway_is_selected_by_the_labels_of_its_proxy_and_keeps_questions_about_ports() -> None:
    for label in GATEWAY_LABELS:
        text = f"{{selector: {{matchLabels: {{{label}: edge}}}}, rules: [{{to: [{{operation: {{ports: ['80']}}}}]}}]}}"
        made = compiled(gateway("edge", "[{name: a, port: 80, protocol: HTTP}]"), policy("p", text))
        (found,) = made.mesh.gateway_guards["default", "edge"].policies
        assert len(found.rules[0].questions) == 1


def test_a_gateway_checks_tokens() -> None:
    made = compiled(
        gateway("edge", "[{name: a, port: 80, protocol: HTTP}]"),
        istio("RequestAuthentication", "t", "{jwtRules: [{issuer: 'https://a.example'}]}"),
    )
    assert [each.issuer for each in made.mesh.gateway_guards["default", "edge"].issuers] == ["https://a.example"]


def test_who_speaks_grpc_is_asked_about_connections() -> None:
    rule = "{to: [{operation: {methods: [POST]}}]}"
    text = policy("p", f"{{action: CUSTOM, provider: {{name: opa}}, rules: [{rule}]}}")
    made = compiled(OPA, text, workloads=(both("echo"),))
    found = only(made, "echo", 6379)
    assert (found.action, found.provider) == (Action.CUSTOM, only(made, "echo").provider)
    assert [each.questions for each in found.rules] == [()]
    assert codes(made) == ["WFT-1230"]


def test_who_speaks_http_only_is_not_asked_about_connections() -> None:
    text = policy("p", "{action: CUSTOM, provider: {name: ask}, rules: [{}]}")
    made = compiled(OPA, text, workloads=(both("echo"),))
    assert only(made, "echo").action is Action.CUSTOM
    assert guard(made, "echo", 6379).policies == ()
    assert codes(made) == ["WFT-1236"]


def test_an_application_that_wants_to_know_who_calls_makes_its_proxy_understand_http() -> None:
    told = mesh("{}", "{echo: {port: 8080, identityHeader: true}}")
    made = compiled(told, workloads=(both("echo"), both("other"), both("own", identity_header=True)))
    assert guard(made, "echo").why_http == "identityHeader"
    assert not guard(made, "echo", 6379).identity_header
    assert not guard(made, "other").identity_header
    assert guard(made, "own").identity_header


def test_dry_run_stays_written_on_the_policy() -> None:
    text = policy("p", "{rules: [{}]}", more=", annotations: {istio.io/dry-run: 'true'}")
    assert only(compiled(text, workloads=(both("echo"),)), "echo").dry_run


def test_workloads_that_are_alike_share_what_guards_them() -> None:
    made = compiled(
        policy("p"), workloads=tuple(workload(name, labels={"app": "echo"}) for name in ("echo-0", "echo-1"))
    )
    first, second = made.mesh.guards["default", "echo-0"], made.mesh.guards["default", "echo-1"]
    assert first is second


def test_a_change_of_state_changes_no_guard_and_a_policy_elsewhere_neither() -> None:
    memo = Memo()
    texts = objects(policy("p"))
    before = compile_world(Input(texts, (HostReport(host="here", workloads=(both("echo"),)),)), memo)
    memo.turn()
    ports = tuple(msgspec.structs.replace(port, state=State.DRAINING) for port in both("echo").ports)
    draining = both("echo", ports=ports)
    host = (HostReport(host="here", workloads=(draining,)),)
    after = compile_world(Input(texts, host), memo)
    assert after.mesh.guards is before.mesh.guards
    assert after.mesh.peers is before.mesh.peers
    memo.turn()
    more = compile_world(Input((*texts, *objects(policy("q", "{}", "shop"))), host), memo)
    assert more.mesh.guards["default", "echo"] is before.mesh.guards["default", "echo"]


def test_kinds_of_workloads_come_from_reports_and_from_what_shall_run() -> None:
    reported = host_members((HostReport(host="a", workloads=(bare(both("echo")),)), frozenset()), Memo())
    subject = Subject(
        namespace="default",
        labels=(("app", "echo"),),
        account="default/default",
        ports=(SubjectPort(6379, "tcp", False), SubjectPort(8080, "http", True)),
    )
    assert reported.members == {("default", "echo"): Member(subject, False)}
    spec = ProcessSpec(
        namespace="default",
        name="echo-v1-0",
        service="echo",
        version="v1",
        command=("a",),
        service_account="echo",
        labels=(("app", "echo"),),
        ports=(PortSpec(8080, "http", Protocol.HTTP),),
    )
    (member,) = declared_members(((spec, spec), frozenset({ServiceKey("default", "echo")})), Memo())
    assert (member.proxied, member.subject.account, member.subject.identity_header) == (True, "default/echo", True)


def test_a_gateway_has_one_guard_for_all_its_ports() -> None:
    ref = Ref("security.istio.io", "AuthorizationPolicy", "a", "p")
    each = placed(ref, (Scope(),), AuthPolicy(ref.path, Action.DENY, (AuthRule("r/0"),)))
    modes = NamespaceModes(None, None, ())
    made = guarded(Applying(gateway_subject("a", "x", "weft"), (each,), (), modes, default_deny=True))
    assert made.ports == ((0, Guard(policies=(each.request,))),)
    assert made.matched == (ref.path,)
