"""One AuthorizationPolicy in the model's words."""

from __future__ import annotations

import pytest

from tests.support.documents import decoded
from tests.support.policies import policy
from weft.api.istio_authorization import AuthorizationPolicy
from weft.dialects.istio.authorization import Domains, read_policy
from weft.model.trust import Action, Attribute, AuthPolicy, Question, Text, TextKind

EXACT, PREFIX, SUFFIX, PRESENT, TEMPLATE = (
    TextKind.EXACT,
    TextKind.PREFIX,
    TextKind.SUFFIX,
    TextKind.PRESENT,
    TextKind.TEMPLATE,
)

LOCAL = Domains("local")


def made(spec: str, domains: Domains = LOCAL, namespace: str = "shop") -> AuthPolicy:
    found = decoded(policy("p", spec, namespace))
    assert isinstance(found.object, AuthorizationPolicy)
    return read_policy(found.document.ref, found.object, domains)


def source(text: str, domains: Domains = LOCAL) -> tuple[Question, ...]:
    (rule,) = made(f"{{rules: [{{from: [{{source: {{{text}}}}}]}}]}}", domains).rules
    (group,) = rule.sources
    return group


def operation(text: str) -> tuple[Question, ...]:
    (rule,) = made(f"{{rules: [{{to: [{{operation: {{{text}}}}}]}}]}}").rules
    (group,) = rule.operations
    return group


def condition(text: str) -> Question:
    (rule,) = made(f"{{rules: [{{when: [{{{text}}}]}}]}}").rules
    (question,) = rule.conditions
    return question


def test_a_policy_has_its_provenance_and_each_rule_its_own() -> None:
    found = made("{action: DENY, rules: [{}, {}]}")
    assert (found.source, found.action, found.dry_run) == ("AuthorizationPolicy/shop/p", Action.DENY, False)
    assert [rule.source for rule in found.rules] == [
        "AuthorizationPolicy/shop/p/rules/0",
        "AuthorizationPolicy/shop/p/rules/1",
    ]
    assert found.rules[0].questions == ()
    assert made("{}").rules == ()


def test_our_own_trust_domain_has_several_names() -> None:
    domains = Domains("local", ("old.example", "local"))
    (question,) = source("principals: [cluster.local/ns/a/sa/b]", domains)
    assert [text.value for text in question.any_of] == ["spiffe://local/ns/a/sa/b", "spiffe://old.example/ns/a/sa/b"]
    (same,) = source("principals: [old.example/ns/a/sa/b, local/ns/a/sa/b]", domains)
    assert same.any_of == question.any_of
    (other,) = source("principals: [partner.example/ns/a/sa/b]", domains)
    assert other.any_of == (Text(EXACT, "spiffe://partner.example/ns/a/sa/b"),)


def test_a_trust_domain_that_is_ours_is_each_of_its_names() -> None:
    domains = Domains("new.example", ("old.td",))
    (question,) = source("trustDomains: [old.td, partner.example, '*.td'], notTrustDomains: [cluster.local]", domains)
    assert question == Question(
        Attribute.TRUST_DOMAIN,
        (Text(EXACT, "new.example"), Text(EXACT, "old.td"), Text(EXACT, "partner.example"), Text(SUFFIX, ".td")),
        (Text(EXACT, "new.example"), Text(EXACT, "old.td")),
    )


def test_a_star_for_the_beginning_of_one_of_our_names_means_the_others_too() -> None:
    domains = Domains("new.example", ("old.td",))
    (question,) = source("principals: ['*.td/ns/a/sa/b', '*/ns/a/sa/b', '*.other/ns/a/sa/b']", domains)
    assert question.any_of == (
        Text(SUFFIX, ".td/ns/a/sa/b"),
        Text(EXACT, "spiffe://new.example/ns/a/sa/b"),
        Text(SUFFIX, "/ns/a/sa/b"),
        Text(SUFFIX, ".other/ns/a/sa/b"),
    )


def test_stars_in_principals() -> None:
    (question,) = source("principals: ['*', '*/sa/b', 'cluster.local/ns/a/*', 'local*']")
    assert question.any_of == (
        Text(PRESENT),
        Text(SUFFIX, "/sa/b"),
        Text(PREFIX, "spiffe://local/ns/a/"),
        Text(PREFIX, "spiffe://local"),
    )


def test_every_field_of_a_source_is_a_question() -> None:
    found = source(
        "principals: [a/b], notPrincipals: [a/c], requestPrincipals: ['i/*'], notRequestPrincipals: ['*'], namespaces: ['a-*'],"
        " notNamespaces: [b], ipBlocks: [10.0.0.7], notIpBlocks: ['fd00::/8'], remoteIpBlocks: [10.1.2.3/8],"
        " notRemoteIpBlocks: [192.0.2.1]"
    )
    assert found == (
        Question(Attribute.PRINCIPAL, (Text(EXACT, "spiffe://a/b"),), (Text(EXACT, "spiffe://a/c"),)),
        Question(Attribute.REQUEST_PRINCIPAL, (Text(PREFIX, "i/"),), (Text(PRESENT),)),
        Question(Attribute.NAMESPACE, (Text(PREFIX, "a-"),), (Text(EXACT, "b"),)),
        Question(Attribute.IP_BLOCK, (Text(EXACT, "10.0.0.7/32"),), (Text(EXACT, "fd00::/8"),)),
        Question(Attribute.REMOTE_IP_BLOCK, (Text(EXACT, "10.0.0.0/8"),), (Text(EXACT, "192.0.2.1/32"),)),
    )


def test_a_service_account_is_one_of_the_policy_s_namespace_unless_it_says_another() -> None:
    (question,) = source("serviceAccounts: [web, other/web], notServiceAccounts: [old]")
    assert [text.value for text in question.any_of] == ["shop/web", "other/web"]
    assert [text.value for text in question.none_of] == ["shop/old"]


def test_every_field_of_an_operation_is_a_question() -> None:
    found = operation(
        "hosts: ['A.example:80', '*.B.example'], notHosts: ['c.*'], ports: ['08080'], notPorts: ['90'], methods: [GET],"
        " notMethods: ['P*'], paths: ['/a', '/b*', '*.png', '/{*}/c/{**}', '*'], notPaths: [/d]"
    )
    assert found == (
        Question(Attribute.HOST, (Text(EXACT, "a.example:80"), Text(SUFFIX, ".b.example")), (Text(PREFIX, "c."),)),
        Question(Attribute.PORT, (Text(EXACT, "8080"),), (Text(EXACT, "90"),)),
        Question(Attribute.METHOD, (Text(EXACT, "GET"),), (Text(PREFIX, "P"),)),
        Question(
            Attribute.PATH,
            (
                Text(EXACT, "/a"),
                Text(PREFIX, "/b"),
                Text(SUFFIX, ".png"),
                Text(TEMPLATE, "/{*}/c/{**}"),
                Text(PRESENT),
            ),
            (Text(EXACT, "/d"),),
        ),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key: 'request.headers[X-A]', values: ['b*']", Question(Attribute.HEADER, (Text(PREFIX, "b"),), (), "x-a")),
        (
            "key: 'request.auth.claims[a][b]', notValues: [c]",
            Question(Attribute.CLAIM, (), (Text(EXACT, "c"),), "a\0b"),
        ),
        ("key: 'request.headers[Host]', values: [A.b]", Question(Attribute.HOST, (Text(EXACT, "a.b"),))),
        ("key: 'request.headers[:authority]', notValues: ['*.b']", Question(Attribute.HOST, (), (Text(SUFFIX, ".b"),))),
        ("key: 'request.headers[:method]', values: [GET]", Question(Attribute.METHOD, (Text(EXACT, "GET"),))),
        ("key: source.ip, values: [10.0.0.1/8]", Question(Attribute.IP_BLOCK, (Text(EXACT, "10.0.0.0/8"),))),
        ("key: remote.ip, values: [10.0.0.1]", Question(Attribute.REMOTE_IP_BLOCK, (Text(EXACT, "10.0.0.1/32"),))),
        ("key: destination.ip, values: ['fd00::1']", Question(Attribute.DESTINATION_IP, (Text(EXACT, "fd00::1/128"),))),
        ("key: destination.port, values: ['80']", Question(Attribute.PORT, (Text(EXACT, "80"),))),
        ("key: source.namespace, values: [a]", Question(Attribute.NAMESPACE, (Text(EXACT, "a"),))),
        (
            "key: source.principal, values: [cluster.local/ns/a/sa/b]",
            Question(Attribute.PRINCIPAL, (Text(EXACT, "spiffe://local/ns/a/sa/b"),)),
        ),
        ("key: source.serviceAccount, values: [b]", Question(Attribute.SERVICE_ACCOUNT, (Text(EXACT, "shop/b"),))),
        ("key: source.trustDomain, notValues: [local]", Question(Attribute.TRUST_DOMAIN, (), (Text(EXACT, "local"),))),
        ("key: request.auth.principal, values: ['*']", Question(Attribute.REQUEST_PRINCIPAL, (Text(PRESENT),))),
        ("key: request.auth.audiences, values: [a]", Question(Attribute.AUDIENCE, (Text(EXACT, "a"),))),
        ("key: request.auth.presenter, values: [a]", Question(Attribute.PRESENTER, (Text(EXACT, "a"),))),
        ("key: connection.sni, values: ['*.a']", Question(Attribute.SNI, (Text(SUFFIX, ".a"),))),
    ],
)
def test_every_condition_is_a_question(text: str, expected: Question) -> None:
    assert condition(text) == expected
