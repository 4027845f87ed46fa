"""TrafficTargets as policies: what the specification lets through, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.compiled import codes, compiled
from tests.support.policies import both, guard, mesh, only, smi
from weft.model.trust import Action, Attribute, Question, Text, TextKind

if TYPE_CHECKING:
    from weft.dialects.values import Compiled

ROUTES = smi(
    "HTTPRouteGroup",
    "routes",
    "{matches: [{name: metrics, pathRegex: /metrics, methods: [GET], headers: {User-Agent: 'Prom.*'}},"
    " {name: all, pathRegex: '.*', methods: ['*']}, {name: any}]}",
)
ECHO = both("echo", service_account="echo")


def target(rules: str, destination: str = "", sources: str = "[{name: web}]") -> str:
    spec = f"{{destination: {{kind: ServiceAccount, name: echo{destination}}}, sources: {sources}, rules: [{rules}]}}"
    return smi("TrafficTarget", "t", spec)


def made(*texts: str) -> Compiled:
    return compiled(*texts, workloads=(ECHO, both("web", service_account="web")))


def test_a_target_opens_its_destination_to_its_sources_and_closes_it_to_others() -> None:
    found = made(target("{kind: HTTPRouteGroup, name: routes, matches: [metrics]}"), ROUTES)
    policy = only(found, "echo")
    assert (policy.source, policy.action) == ("TrafficTarget/default/t", Action.ALLOW)
    (rule,) = policy.rules
    assert rule.source == "TrafficTarget/default/t/rules/0"
    ((who,),) = rule.sources
    assert who == Question(Attribute.PRINCIPAL, (Text(TextKind.EXACT, "spiffe://local/ns/default/sa/web"),))
    assert rule.operations == (
        (
            Question(Attribute.PATH, (Text(TextKind.REGEX, "(?:/metrics).*"),)),
            Question(Attribute.METHOD, (Text(TextKind.EXACT, "GET"),)),
            Question(Attribute.HEADER, (Text(TextKind.REGEX, "Prom.*"),), name="user-agent"),
        ),
    )
    assert guard(found, "web").policies == ()
    assert found.problems == ()


def test_a_match_of_everything_asks_for_nothing_but_a_path() -> None:
    (rule,) = only(made(target("{kind: HTTPRouteGroup, name: routes, matches: [all]}"), ROUTES), "echo").rules
    assert rule.operations == ((Question(Attribute.PATH, (Text(TextKind.REGEX, "(?:.*).*"),)),),)
    (rule,) = only(made(target("{kind: HTTPRouteGroup, name: routes}"), ROUTES), "echo").rules
    assert rule.operations == ()


def test_requests_are_not_allowed_as_connections() -> None:
    found = made(target("{kind: HTTPRouteGroup, name: routes}"), ROUTES)
    assert only(found, "echo", 6379).rules == ()


def test_a_tcp_route_opens_its_ports_to_everything() -> None:
    route = smi("TCPRoute", "ports", "{matches: {ports: [6379]}}")
    found = made(target("{kind: TCPRoute, name: ports}"), route)
    assert (len(only(found, "echo").rules), len(only(found, "echo", 6379).rules)) == (0, 1)
    every = made(target("{kind: TCPRoute, name: ports}"), smi("TCPRoute", "ports", "{}"))
    assert (len(only(every, "echo").rules), len(only(every, "echo", 6379).rules)) == (1, 1)


def test_a_tcp_route_narrows_the_requests_beside_it_to_its_ports() -> None:
    rules = "{kind: TCPRoute, name: ports}, {kind: HTTPRouteGroup, name: routes, matches: [metrics]}"
    elsewhere = made(target(rules), ROUTES, smi("TCPRoute", "ports", "{matches: {ports: [6379]}}"))
    assert only(elsewhere, "echo").rules == ()
    assert [rule.source for rule in only(elsewhere, "echo", 6379).rules] == ["TrafficTarget/default/t/rules/0"]
    here = made(target(rules), ROUTES, smi("TCPRoute", "ports", "{matches: {ports: [8080]}}"))
    (rule,) = only(here, "echo").rules
    assert (rule.source, len(rule.operations[0]), rule.conditions) == ("TrafficTarget/default/t/rules/1", 3, ())
    assert only(here, "echo", 6379).rules == ()
    every = made(target(rules), ROUTES, smi("TCPRoute", "ports", "{}"))
    assert [rule.source for rule in only(every, "echo").rules] == ["TrafficTarget/default/t/rules/1"]


def test_the_port_of_a_destination_narrows_all_of_it() -> None:
    found = made(target("{kind: TCPRoute, name: ports}", ", port: 8080"), smi("TCPRoute", "ports", "{}"))
    assert (len(only(found, "echo").rules), len(only(found, "echo", 6379).rules)) == (1, 0)


def test_nobody_opens_another_namespace() -> None:
    found = made(target("{kind: TCPRoute, name: ports}", ", namespace: shop"), smi("TCPRoute", "ports", "{}"))
    assert codes(found) == ["WFT-1229"]
    assert guard(found, "echo").policies == ()


def test_what_is_named_and_not_there_opens_nothing() -> None:
    found = made(target("{kind: TCPRoute, name: prots}, {kind: HTTPRouteGroup, name: routs}"), ROUTES)
    assert codes(found) == ["WFT-1234", "WFT-1234"]
    assert found.problems[1].remedy == "Write routes"
    assert only(found, "echo").rules == ()
    typo = made(target("{kind: HTTPRouteGroup, name: routes, matches: [metric]}"), ROUTES)
    assert (codes(typo), typo.problems[0].remedy) == (["WFT-1234"], "Write metrics")
    assert only(typo, "echo").rules == ()


def test_sources_are_known_by_every_name_of_the_trust_domain_and_in_their_namespace() -> None:
    texts = (
        mesh("{trustDomainAliases: [old.example]}"),
        target("{kind: TCPRoute, name: p}", sources="[{name: web, namespace: shop}]"),
        smi("TCPRoute", "p", "{}"),
    )
    (rule,) = only(made(*texts), "echo").rules
    assert [text.value for text in rule.questions[0].any_of] == [
        "spiffe://local/ns/shop/sa/web",
        "spiffe://old.example/ns/shop/sa/web",
    ]
