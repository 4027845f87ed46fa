"""What is odd about policies once it is known whom they concern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.compiled import bare, compiled, gateway, objects, workload
from tests.support.policies import both, istio, mesh, peer, policy, smi
from weft.dialects.compile import compile_world
from weft.dialects.values import Input
from weft.errors import Severity
from weft.memo import Memo
from weft.model.service import HostReport

if TYPE_CHECKING:
    from weft.dialects.values import Compiled

ECHO = both("echo", service_account="echo")
WEB = workload("web", service_account="web")
EDGE = gateway("edge", "[{name: http, port: 80, protocol: HTTP}]")


def made(*texts: str) -> Compiled:
    return compiled(*texts, workloads=(ECHO, WEB))


def said(found: Compiled) -> list[tuple[str, str]]:
    assert all(problem.severity is Severity.WARNING for problem in found.problems)
    return [(problem.code, problem.field) for problem in found.problems]


def rules(*found: str) -> str:
    return f"{{rules: [{', '.join(found)}]}}"


def source(text: str) -> str:
    return rules(f"{{from: [{{source: {{{text}}}}}]}}")


@pytest.mark.parametrize(
    "text",
    [
        policy("p", "{selector: {matchLabels: {app: ehco}}}"),
        policy("p", "{}", "shop"),
        istio("RequestAuthentication", "t", "{selector: {matchLabels: {app: x}}, jwtRules: [{issuer: 'https://a'}]}"),
        peer("p", "{selector: {matchLabels: {app: x}}, mtls: {mode: STRICT}}"),
    ],
)
def test_a_policy_that_selects_nothing_is_a_warning_where_something_runs(text: str) -> None:
    assert [code for code, _ in said(made(text))] == ["WFT-1225"]
    assert compiled(text).problems == ()


def test_what_shall_run_is_selected_before_it_runs() -> None:
    declared = mesh("{}", "{later: {port: 80, command: a}}")
    assert compiled(declared, policy("p", "{selector: {matchLabels: {app: later}}}")).problems == ()


def test_a_target_of_smi_that_nobody_is_selects_nothing() -> None:
    spec = "{destination: {name: ehco}, sources: [{name: web}], rules: [{kind: TCPRoute, name: r}]}"
    assert said(made(smi("TrafficTarget", "t", spec), smi("TCPRoute", "r", "{}"))) == [("WFT-1225", "")]


def test_a_peer_authentication_that_an_older_wider_one_covers() -> None:
    wide = peer("a", "{selector: {matchLabels: {app: echo}}, mtls: {mode: STRICT}}", created="2024-01-01T00:00:00Z")
    narrow = peer("b", "{selector: {matchLabels: {app: echo, version: v1}}, mtls: {mode: DISABLE}}")
    assert said(made(wide, narrow)) == [("WFT-1228", "spec.selector")]


def test_rules_that_mean_less_for_connections_are_named_with_their_ports() -> None:
    text = policy("p", "{action: DENY, rules: [{}, {to: [{operation: {methods: [POST]}}]}]}")
    found = made(text)
    assert said(found) == [("WFT-1230", "spec.rules[1]")]
    assert found.problems[0].message.startswith("at port 6379")
    assert "denies every connection" in found.problems[0].message
    audit = made(policy("p", "{action: AUDIT, rules: [{to: [{operation: {methods: [POST]}}]}]}"))
    assert "holds for every connection" in audit.problems[0].message
    allow = made(policy("p", rules("{to: [{operation: {methods: [POST]}}]}")))
    assert "lets nobody in at port 6379" in allow.problems[0].message


@pytest.mark.parametrize("text", ["ports: ['8080']", "notPorts: ['6379']"])
def test_a_rule_that_names_http_ports_means_no_connection(text: str) -> None:
    found = policy("p", f"{{action: DENY, rules: [{{to: [{{operation: {{methods: [POST], {text}}}}}]}}]}}")
    assert made(found).problems == ()


def test_a_port_that_no_workload_has() -> None:
    text = rules("{to: [{operation: {ports: ['80', '8080']}}]}", "{when: [{key: destination.port, values: ['81']}]}")
    found = made(policy("p", text))
    assert said(found) == [("WFT-1231", "spec.rules[0]"), ("WFT-1231", "spec.rules[1]")]
    assert "no workload that the policy holds for has port 80; they have 6379, 8080" in found.problems[0].message
    assert made(EDGE, policy("p", text)).problems == ()


def test_a_mode_for_a_port_that_no_workload_has() -> None:
    modes = "{8080: {mode: STRICT}, 80: {mode: DISABLE}}"
    found = made(peer("p", f"{{selector: {{matchLabels: {{app: echo}}}}, portLevelMtls: {modes}}}"))
    assert said(found) == [("WFT-1256", 'spec.portLevelMtls["80"]')]
    assert "port 80, so its mode says nothing; they have 6379, 8080" in found.problems[0].message


def test_a_server_name_is_asked_by_nobody() -> None:
    text = rules("{}", "{when: [{key: connection.sni, values: [a.example]}]}")
    assert said(made(policy("p", text))) == [("WFT-1255", "spec.rules[1]")]
    assert said(made(policy("p", text, "elsewhere"))) == [("WFT-1225", "")]


def test_an_identity_that_nobody_has_and_what_is_near() -> None:
    for text in ("principals: [cluster.local/ns/default/sa/wbe]", "serviceAccounts: [wbe]"):
        found = made(policy("p", source(text)))
        assert said(found) == [("WFT-1232", "spec.rules[0]")]
        assert found.problems[0].remedy == "Write service account default/web, if that is meant"
    elsewhere = made(policy("p", source("principals: [cluster.local/ns/shop/sa/web]")))
    assert "near: service account default/web" in elsewhere.problems[0].message
    nothing = made(policy("p", source("serviceAccounts: [zzzzzzz]")))
    assert nothing.problems[0].remedy == "Correct it, or declare its ServiceAccount"


@pytest.mark.parametrize(
    "text",
    [
        "principals: [cluster.local/ns/default/sa/web]",
        "principals: [partner.example/ns/a/sa/b]",
        "principals: ['*/sa/nobody', 'cluster.local/ns/shop/*']",
        "principals: [cluster.local/weft/control]",
        "serviceAccounts: [web, told, edge-weft]",
    ],
)
def test_identities_that_are_there_or_elsewhere_are_no_concern(text: str) -> None:
    account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: told}\n---\n"
    assert made(account, EDGE, policy("p", source(text))).problems == ()


def test_addresses_are_not_seen_at_workloads() -> None:
    assert said(made(policy("p", source("ipBlocks: [10.0.0.0/8]")))) == [("WFT-1233", "spec.rules")]
    assert said(made(policy("p", rules("{when: [{key: destination.ip, values: [10.0.0.1]}]}")))) == [
        ("WFT-1233", "spec.rules")
    ]
    assert made(policy("p", source("remoteIpBlocks: [10.0.0.0/8]")), policy("q")).problems[0].code == "WFT-1230"
    target = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}]"
    edge = source("ipBlocks: [10.0.0.0/8]").replace("{rules", f"{{{target}, rules", 1)
    assert made(EDGE, policy("p", edge)).problems == ()


def test_a_policy_where_no_proxy_stands_is_not_enforced() -> None:
    without = bare(workload("bare", service_account="bare"))
    texts = (
        policy("p", "{selector: {matchLabels: {app: bare}}}"),
        peer("q", "{selector: {matchLabels: {app: bare}}, mtls: {mode: STRICT}}"),
        istio(
            "RequestAuthentication", "t", "{selector: {matchLabels: {app: bare}}, jwtRules: [{issuer: 'https://a'}]}"
        ),
    )
    found = compiled(*texts, workloads=(without, WEB))
    assert [code for code, _ in said(found)] == ["WFT-1238"] * 3
    assert "service account default/bare" in found.problems[0].message


@pytest.mark.parametrize("namespace", ["default", "weft-system"])
def test_a_port_in_the_clear_is_not_reached_from_other_hosts(namespace: str) -> None:
    texts = objects(peer("off", "{mtls: {mode: DISABLE}}", namespace))
    here = HostReport(host="here", workloads=(ECHO,), address="192.0.2.1")
    there = HostReport(host="there", workloads=(), address="192.0.2.2")
    found = compile_world(Input(texts, (here, there)), Memo())
    assert said(found) == [("WFT-1242", "")]
    assert compile_world(Input(texts, (here,)), Memo()).problems == ()
