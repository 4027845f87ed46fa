"""AuthorizationPolicy: what Istio takes and refuses, and values that nothing can match."""

from __future__ import annotations

import pytest

from tests.support.documents import accepted, brief, decoded, refused
from weft.api.istio_authorization import AuthorizationPolicy, Key, parse_key

HEAD = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a{0}}}\n"
R = "spec.rules[0]"


def policy(text: str = "", annotations: str = "") -> AuthorizationPolicy:
    found = accepted(HEAD.format(annotations) + text)
    assert isinstance(found, AuthorizationPolicy)
    return found


def problems(spec: str, annotations: str = "") -> list[tuple[str, str]]:
    return brief(refused(HEAD.format(annotations) + f"spec: {spec}\n"))


def rule(text: str) -> list[tuple[str, str]]:
    return problems(f"{{rules: [{{{text}}}]}}")


def warned(spec: str) -> list[tuple[str, str]]:
    found = decoded(HEAD.format("") + f"spec: {spec}\n")
    assert found.object is not None
    return brief(found.problems)


def test_an_empty_policy_and_an_empty_rule_differ() -> None:
    assert policy().spec.rules == ()
    assert policy("spec: {}\n").spec.rules == ()
    (rule,) = policy("spec: {rules: [{}]}\n").spec.rules
    assert (rule.from_, rule.to, rule.when) == ((), (), ())


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("from: [{}]", "WFT-1104", f"{R}.from[0].source"),
        ("from: [{source: {}}]", "WFT-1104", f"{R}.from[0].source"),
        ("from: [{source: {principals: ['']}}]", "WFT-1105", f"{R}.from[0].source.principals[0]"),
        ("from: [{source: {user: [a]}}]", "WFT-1102", f"{R}.from[0].source.user"),
        ("from: [{source: {ipBlocks: [10.0.0.300]}}]", "WFT-1105", f"{R}.from[0].source.ipBlocks[0]"),
        ("from: [{source: {remoteIpBlocks: [10.0.0.0/33]}}]", "WFT-1105", f"{R}.from[0].source.remoteIpBlocks[0]"),
        ("from: [{source: {namespaces: ['a*b']}}]", "WFT-1105", f"{R}.from[0].source.namespaces[0]"),
        ("from: [{source: {notNamespaces: ['*a*']}}]", "WFT-1105", f"{R}.from[0].source.notNamespaces[0]"),
        ("from: [{source: {serviceAccounts: [a], principals: [b/c]}}]", "WFT-1105", f"{R}.from[0].source.principals"),
        ("from: [{source: {serviceAccounts: ['a*']}}]", "WFT-1105", f"{R}.from[0].source.serviceAccounts[0]"),
        ("from: [{source: {serviceAccounts: [a/b/c]}}]", "WFT-1105", f"{R}.from[0].source.serviceAccounts[0]"),
        ("to: [{operation: {}}]", "WFT-1104", f"{R}.to[0].operation"),
        ("to: [{operation: {ports: ['0']}}]", "WFT-1105", f"{R}.to[0].operation.ports[0]"),
        ("to: [{operation: {ports: [http]}}]", "WFT-1105", f"{R}.to[0].operation.ports[0]"),
        ("to: [{operation: {ports: [80]}}]", "WFT-1103", f"{R}.to[0].operation.ports[0]"),
        ("to: [{operation: {paths: ['/{**}/{*}']}}]", "WFT-1105", f"{R}.to[0].operation.paths[0]"),
        ("to: [{operation: {paths: ['/{**}/a/{**}']}}]", "WFT-1105", f"{R}.to[0].operation.paths[0]"),
        ("to: [{operation: {paths: ['/{*}/a|b']}}]", "WFT-1105", f"{R}.to[0].operation.paths[0]"),
        ("to: [{operation: {paths: ['/{*}//b']}}]", "WFT-1105", f"{R}.to[0].operation.paths[0]"),
        ("to: [{operation: {paths: ['a/{*}']}}]", "WFT-1105", f"{R}.to[0].operation.paths[0]"),
        ("from: [{source: {trustDomains: [a/b]}}]", "WFT-1105", f"{R}.from[0].source.trustDomains[0]"),
        ("from: [{source: {trustDomains: ['a*b']}}]", "WFT-1105", f"{R}.from[0].source.trustDomains[0]"),
        ("from: [{source: {notTrustDomains: ['']}}]", "WFT-1105", f"{R}.from[0].source.notTrustDomains[0]"),
        ("when: [{key: source.trustDomain, notValues: [a/b]}]", "WFT-1105", f"{R}.when[0].notValues[0]"),
        ("when: [{key: source.trustDomain, values: ['*a*']}]", "WFT-1105", f"{R}.when[0].values[0]"),
        ("to: [{operation: {paths: ['/{*}/*']}}]", "WFT-1105", f"{R}.to[0].operation.paths[0]"),
        ("to: [{operation: {paths: ['/{*}/{id}']}}]", "WFT-1105", f"{R}.to[0].operation.paths[0]"),
        ("to: [{operation: {paths: ['/a{*}']}}]", "WFT-1105", f"{R}.to[0].operation.paths[0]"),
        ("when: [{key: source.ip}]", "WFT-1104", f"{R}.when[0].values"),
        ("when: [{key: source.ip, values: [a]}]", "WFT-1105", f"{R}.when[0].values[0]"),
        ("when: [{key: destination.port, notValues: [x]}]", "WFT-1105", f"{R}.when[0].notValues[0]"),
        ("when: [{key: source.namespace, values: ['a*b']}]", "WFT-1105", f"{R}.when[0].values[0]"),
        ("when: [{key: 'request.headers', values: [a]}]", "WFT-1113", f"{R}.when[0].key"),
        ("when: [{key: 'source.ip[a]', values: [10.0.0.1]}]", "WFT-1113", f"{R}.when[0].key"),
        ("when: [{key: 'request.headers[a][b]', values: [a]}]", "WFT-1113", f"{R}.when[0].key"),
        ("when: [{key: 'request.headers[:path]', values: [a]}]", "WFT-1113", f"{R}.when[0].key"),
        ("when: [{key: 'request.headers[:SCHEME]', values: [a]}]", "WFT-1113", f"{R}.when[0].key"),
        ("when: [{key: source.user, values: [a]}]", "WFT-1113", f"{R}.when[0].key"),
        ("when: [{key: 'experimental.envoy.filters.a[b]', values: [c]}]", "WFT-1108", f"{R}.when[0].key"),
    ],
)
def test_a_rule_that_says_nothing_or_what_there_is_not_is_refused(text: str, code: str, field: str) -> None:
    assert rule(text) == [(code, field)]


def test_a_provider_belongs_to_custom_and_to_nothing_else() -> None:
    assert problems("{action: CUSTOM, rules: [{}]}") == [("WFT-1104", "spec.provider")]
    assert problems("{provider: {name: a}, rules: [{}]}") == [("WFT-1105", "spec.provider")]
    assert policy("spec: {action: CUSTOM, provider: {name: a}, rules: [{}]}\n").spec.provider is not None


@pytest.mark.parametrize("value", ["true", "True", "1", "t", "false", "0"])
def test_dry_run_is_spelled_as_go_spells_it(value: str) -> None:
    assert policy("", f", annotations: {{istio.io/dry-run: '{value}'}}").dry_run is (
        value.lower() in ("true", "1", "t")
    )


def test_dry_run_that_cannot_be_is_refused() -> None:
    annotation = ", annotations: {istio.io/dry-run: 'yes'}"
    assert problems("{}", annotation) == [("WFT-1114", 'metadata.annotations["istio.io/dry-run"]')]
    for action in ("AUDIT", "CUSTOM, provider: {name: a}"):
        found = problems(f"{{action: {action}, rules: [{{}}]}}", ", annotations: {istio.io/dry-run: 'true'}")
        assert found == [("WFT-1114", 'metadata.annotations["istio.io/dry-run"]')]


def test_an_expiry_is_a_moment_with_a_zone() -> None:
    policy("", ", annotations: {weft.dev/expires: '2030-01-31T18:00:00+01:00'}")
    for text in ("2030-01-31", "2030-01-31T18:00:00", "in 30m"):
        found = problems("{}", f", annotations: {{weft.dev/expires: '{text}'}}")
        assert found == [("WFT-1114", 'metadata.annotations["weft.dev/expires"]')]


@pytest.mark.parametrize("action", ["DENY", "AUDIT", "CUSTOM, provider: {name: a}"])
def test_only_an_allow_policy_means_something_without_rules(action: str) -> None:
    assert warned(f"{{action: {action}}}") == [("WFT-1115", "spec")]
    assert warned(f"{{action: {action}, rules: [{{}}]}}") == []
    assert warned("{action: ALLOW}") == []


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/a b", "/a%20b"),
        ("/caf\u00e9", "/caf%C3%A9"),
        ("/x/{id}", "/x/%7Bid%7D"),
        ("/%61%2Fb", "/a/b"),
        ("/a//b/./c", "/a/b/c"),
        ("*\\\\x", "*/x"),
    ],
)
def test_a_path_that_is_not_normal_is_a_warning_with_the_normal_one(path: str, normal: str) -> None:
    found = decoded(HEAD.format("") + f'spec: {{rules: [{{to: [{{operation: {{paths: ["{path}"]}}}}]}}]}}\n')
    assert [(each.code, each.remedy) for each in found.problems] == [("WFT-1116", f"Write {normal}")]


@pytest.mark.parametrize(
    "path",
    ["/", "/a/", "*.png", "/a*", "*", "/v1/users:delete", "/a%3Ab", "/x%C3%A9", "/[a]", "/{*}/a.b/{**}/z/", "/a/{**}/"],
)
def test_a_path_that_requests_have_is_no_warning(path: str) -> None:
    assert warned(f"{{rules: [{{to: [{{operation: {{paths: ['{path}']}}}}]}}]}}") == []


def test_a_trust_domain_may_stand_beside_service_accounts() -> None:
    found = policy("spec: {rules: [{from: [{source: {serviceAccounts: [a], trustDomains: ['*.x', y]}}]}]}\n")
    assert found.spec.rules[0].from_[0].source.trust_domains == ("*.x", "y")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("from: [{source: {principals: ['spiffe://a/ns/b/sa/c']}}]", "from[0].source.principals[0]"),
        ("from: [{source: {principals: [web]}}]", "from[0].source.principals[0]"),
        ("from: [{source: {principals: [ns/b/sa/c]}}]", "from[0].source.principals[0]"),
        ("from: [{source: {principals: [a/ns/b/c]}}]", "from[0].source.principals[0]"),
        ("from: [{source: {principals: [a/ns/b/sa/]}}]", "from[0].source.principals[0]"),
        ("from: [{source: {notPrincipals: ['a/ns/*/sa/c']}}]", "from[0].source.notPrincipals[0]"),
        ("to: [{operation: {paths: [admin]}}]", "to[0].operation.paths[0]"),
        ("to: [{operation: {notPaths: ['/a/*/b']}}]", "to[0].operation.notPaths[0]"),
        ("to: [{operation: {paths: ['/a?b=c']}}]", "to[0].operation.paths[0]"),
        ("to: [{operation: {paths: ['/a#b']}}]", "to[0].operation.paths[0]"),
        ("to: [{operation: {notPaths: ['/a b/*']}}]", "to[0].operation.notPaths[0]"),
        ("to: [{operation: {methods: [get]}}]", "to[0].operation.methods[0]"),
        ("to: [{operation: {notMethods: [Post]}}]", "to[0].operation.notMethods[0]"),
        ("when: [{key: source.principal, values: [web]}]", "when[0].values[0]"),
        ("when: [{key: 'request.headers[X-Envoy-Internal]', values: ['true']}]", "when[0].key"),
        ("when: [{key: source.principal, notValues: [web]}]", "when[0].notValues[0]"),
    ],
)
def test_a_value_that_nothing_matches_is_a_warning(text: str, field: str) -> None:
    assert warned(f"{{rules: [{{{text}}}]}}") == [("WFT-1116", f"{R}.{field}")]


@pytest.mark.parametrize(
    "text",
    [
        "from: [{source: {principals: [cluster.local/ns/b/sa/c, '*', '*/sa/c', 'a/ns/*', partner.example/shop/web]}}]",
        "to: [{operation: {paths: ['*', '/a*', '*.png', '/{*}/a/{**}', '/']}}]",
        "to: [{operation: {methods: ['*', GET, 'P*']}}]",
        "when: [{key: source.principal, values: ['*']}]",
        "when: [{key: 'request.headers[x-envoy-external-address]', values: ['192.0.2.1']}]",
    ],
)
def test_values_as_people_write_them_are_no_warnings(text: str) -> None:
    assert warned(f"{{rules: [{{{text}}}]}}") == []


def test_keys_are_taken_apart() -> None:
    assert parse_key("request.auth.claims[a][b.c/d]") == Key("request.auth.claims", ("a", "b.c/d"))
    assert parse_key("request.headers[X-A]") == Key("request.headers", ("X-A",))
    assert parse_key("source.ip") == Key("source.ip", ())
    for text in ("", "source.ip ", "request.auth.claims", "request.auth.claims[]", "request.auth.claims[a", "x"):
        assert parse_key(text) is None
