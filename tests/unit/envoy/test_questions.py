"""What a rule asks, as a permission or a principal of RBAC, read back by the same expressions that Envoy compiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import re2

from weft.envoy import questions
from weft.envoy.questions import Asked
from weft.explain import asking
from weft.explain.call import Call
from weft.model.trust import Attribute, Question, Text, TextKind, TokenIssuer

if TYPE_CHECKING:
    from weft.envoy.protos.envoy.type.matcher import v3 as matcher

EXACT, PREFIX, SUFFIX, PRESENT, TEMPLATE = (
    TextKind.EXACT,
    TextKind.PREFIX,
    TextKind.SUFFIX,
    TextKind.PRESENT,
    TextKind.TEMPLATE,
)
ISSUERS = (TokenIssuer(source="a", issuer="https://a.example"), TokenIssuer(source="b", issuer="b"))
ALLOWING = Asked(domain="local", port=80, issuers=ISSUERS, refuses=False)
REFUSING = Asked(domain="local", port=80, issuers=ISSUERS, refuses=True)


def matches(match: matcher.StringMatcher, value: str) -> bool:
    """As Envoy matches."""
    match match.WhichOneof("match_pattern"):
        case "exact":
            return value == match.exact
        case "prefix":
            return value.startswith(match.prefix)
        case "suffix":
            return value.endswith(match.suffix)
        case "safe_regex":
            return re2.fullmatch(match.safe_regex.regex, value) is not None
        case other:
            raise AssertionError(other)


def asks(attribute: Attribute, kind: TextKind, value: str = "", name: str = "") -> Question:
    return Question(attribute, (Text(kind, value),), name=name)


def who(question: Question, caller: str, asked: Asked = ALLOWING) -> bool:
    return matches(questions.principal(question, asked).authenticated.principal_name, caller)


def host(question: Question, value: str, asked: Asked = ALLOWING) -> bool:
    found = questions.permission(question, asked).header
    assert found.name == ":authority"
    return matches(found.string_match, value)


WEB = "spiffe://local/ns/shop/sa/web"


@pytest.mark.parametrize(
    ("kind", "value", "caller", "holds"),
    [
        (EXACT, "local/ns/shop/sa/web", WEB, True),
        (EXACT, WEB, WEB, True),
        (EXACT, "local/ns/shop/sa/we", WEB, False),
        (PREFIX, "local/ns/shop/", WEB, True),
        (PREFIX, "spiffe://local/ns/sho", WEB, True),
        (PREFIX, "other/", WEB, False),
        (SUFFIX, "/sa/web", WEB, True),
        (SUFFIX, "/sa/pay", WEB, False),
        (TextKind.REGEX, "spiffe://local/.*/web", WEB, True),
        (PRESENT, "", WEB, True),
        (PRESENT, "", "https://local/ns/shop/sa/web", False),
        (PRESENT, "", "", False),
    ],
)
def test_a_principal_is_an_identity_with_or_without_its_scheme(
    kind: TextKind, value: str, caller: str, holds: bool
) -> None:
    assert who(asks(Attribute.PRINCIPAL, kind, value), caller) is holds


@pytest.mark.parametrize("refuses", [True, False])
@pytest.mark.parametrize(
    ("kind", "value", "caller", "holds"),
    [
        (EXACT, "shop", WEB, True),
        (EXACT, "sho", WEB, False),
        (EXACT, "web", "spiffe://local/ns/a/sa/web", False),
        (EXACT, "s.op", WEB, False),
        (PREFIX, "sh", WEB, True),
        (SUFFIX, "op", WEB, True),
        (PRESENT, "", WEB, True),
        (PRESENT, "", "spiffe://local/weft/host/a", False),
    ],
)
def test_a_namespace_is_one_part_of_an_identity(
    kind: TextKind, value: str, caller: str, holds: bool, refuses: bool
) -> None:
    asked = REFUSING if refuses else ALLOWING
    assert who(asks(Attribute.NAMESPACE, kind, value), caller, asked) is holds


def test_another_trust_domain_has_no_namespaces_here_but_is_refused_with_them() -> None:
    stranger = "spiffe://other/ns/shop/sa/web"
    namespace = asks(Attribute.NAMESPACE, EXACT, "shop")
    account = asks(Attribute.SERVICE_ACCOUNT, EXACT, "shop/web")
    assert not who(namespace, stranger, ALLOWING)
    assert not who(account, stranger, ALLOWING)
    assert who(namespace, stranger, REFUSING)
    assert who(account, stranger, REFUSING)
    assert who(account, WEB, ALLOWING)
    assert not who(account, "spiffe://local/ns/shop/sa/web2", REFUSING)
    assert not who(account, "spiffe://localx/ns/shop/sa/web", ALLOWING)


def test_what_is_excepted_is_read_the_other_way_round() -> None:
    question = Question(Attribute.NAMESPACE, (), (Text(EXACT, "shop"),))
    found = questions.principal(question, REFUSING).not_id.authenticated.principal_name
    assert not matches(found, "spiffe://other/ns/shop/sa/web")
    assert matches(found, WEB)


@pytest.mark.parametrize(
    ("kind", "value", "said", "holds"),
    [
        (EXACT, "a.example", "a.example", True),
        (EXACT, "a.example", "A.Example:8080", True),
        (EXACT, "a.example", "a.example.", True),
        (EXACT, "a.example", "a.example.:80", True),
        (EXACT, "a.example", "aXexample", False),
        (EXACT, "a.example", "a.example.com", False),
        (EXACT, "a.example:80", "a.example:80", True),
        (EXACT, "a.example:80", "a.example.:80", True),
        (EXACT, "a.example:80", "a.example:81", False),
        (EXACT, "[::1]", "[::1]:80", True),
        (PREFIX, "a.", "A.example", True),
        (PREFIX, "a.example:", "a.example:80", True),
        (SUFFIX, ".example", "a.EXAMPLE:80", True),
        (SUFFIX, ".example", "a.example.com", False),
        (PRESENT, "", "a", True),
        (PRESENT, "", "", False),
    ],
)
def test_a_host_is_the_same_in_every_spelling(kind: TextKind, value: str, said: str, holds: bool) -> None:
    assert host(asks(Attribute.HOST, kind, value), said, ALLOWING) is holds
    assert host(asks(Attribute.HOST, kind, value), said, REFUSING) is holds


@pytest.mark.parametrize(
    ("kind", "value", "said", "holds"),
    [
        (EXACT, "a.example:80", "a.example", True),
        (EXACT, "a.example:81", "a.example", False),
        (EXACT, "a.example:x", "a.example", False),
        (EXACT, "a.example", "a.example", True),
        (EXACT, "[::1]:80", "[::1]", True),
        (EXACT, "[::1]", "[::1]", True),
        (PREFIX, "[:", "[::1]", True),
        (PREFIX, "a.example:", "a.example", True),
        (PREFIX, "a.example:", "a.example.com", False),
        (PREFIX, "a.example:8", "a.example", True),
        (PREFIX, "a.example:9", "a.example", False),
        (PREFIX, "a.", "a.example", True),
        (SUFFIX, ".example:80", "a.example", True),
        (SUFFIX, ":80", "a.example", True),
        (SUFFIX, ":81", "a.example", False),
    ],
)
def test_at_a_gateway_a_port_beside_a_host_is_the_listeners(kind: TextKind, value: str, said: str, holds: bool) -> None:
    question = asks(Attribute.HOST, kind, value)
    for refuses in (True, False):
        found = questions.permission(question, Asked("local", 80, (), refuses=refuses, edge=True))
        if found.HasField("header"):
            assert matches(found.header.string_match, said) is holds
        else:
            assert found == questions.never()
            assert not holds


@pytest.mark.parametrize(
    "said", ["x@a.example", "a.example:x", "a.example:80:90", "b,a.example", "a.example,b", "b, a.example"]
)
def test_a_doubtful_host_is_refused_and_never_allowed(said: str) -> None:
    question = asks(Attribute.HOST, EXACT, "a.example")
    assert host(question, said, REFUSING)
    assert not host(question, said, ALLOWING)


@pytest.mark.parametrize(
    ("kind", "value", "said", "allowed", "refused"),
    [
        (EXACT, "a", "a", True, True),
        (EXACT, "a", "a,b", False, True),
        (EXACT, "a", "b, a", False, True),
        (EXACT, "a", "ab", False, False),
        (PREFIX, "a", "b,ac", False, True),
        (SUFFIX, "a", "ba,c", False, True),
        (TextKind.REGEX, "a|b", "c,b", False, True),
        (TextKind.REGEX, "a|b", "b", True, True),
        (PRESENT, "", "x", True, True),
        (PRESENT, "", "", False, True),
    ],
)
def test_a_header_that_came_twice_is_refused_by_either_and_allowed_by_neither(
    kind: TextKind, value: str, said: str, allowed: bool, refused: bool
) -> None:
    question = asks(Attribute.HEADER, kind, value, "role")
    for asked, holds in ((ALLOWING, allowed), (REFUSING, refused)):
        for found in (questions.permission(question, asked).header, questions.principal(question, asked).header):
            assert found.name == "role"
            assert (found.present_match or matches(found.string_match, said)) is holds


def test_a_name_that_an_application_may_take_for_the_header_refuses_too() -> None:
    question = asks(Attribute.HEADER, EXACT, "guest", "x-role")
    refused = questions.principal(question, REFUSING).or_ids.ids
    assert [each.header.name for each in refused] == ["x-role", "x_role"]
    assert [each.header.name for each in questions.permission(question, REFUSING).or_rules.rules] == [
        "x-role",
        "x_role",
    ]
    first, other = questions.principal(question, ALLOWING).and_ids.ids
    assert (first.header.name, first.header.string_match.exact) == ("x-role", "guest")
    assert (other.not_id.header.name, other.not_id.header.present_match) == ("x_role", True)
    permitted, missing = questions.permission(question, ALLOWING).and_rules.rules
    assert (permitted.header.name, missing.not_rule.header.name) == ("x-role", "x_role")


@pytest.mark.parametrize(
    ("kind", "value", "path", "holds"),
    [
        (EXACT, "/a", "/a", True),
        (EXACT, "/a", "/a/", False),
        (PREFIX, "/a", "/ab", True),
        (SUFFIX, ".jpg", "/x/y.jpg", True),
        (PRESENT, "", "/", True),
        (TextKind.REGEX, "/a|/b", "/b", True),
        (TextKind.REGEX, "/a|/b", "/bc", False),
        (TEMPLATE, "/a/{*}/c", "/a/b/c", True),
        (TEMPLATE, "/a/{*}/c", "/a/b/b/c", False),
        (TEMPLATE, "/a/{*}/c", "/a//c", False),
        (TEMPLATE, "/a/{**}", "/a/b/c[d", False),
        (TEMPLATE, "/a/{**}", "/a/b/c%5Bd", True),
        (EXACT, "/a:b", "/a%3Ab", False),
        (TEMPLATE, "/a/{**}/z", "/a/b/c/z", True),
        (TEMPLATE, "/a.b/{*}", "/aXb/c", False),
    ],
)
def test_a_path_is_matched_without_its_query(kind: TextKind, value: str, path: str, holds: bool) -> None:
    found = questions.permission(asks(Attribute.PATH, kind, value), ALLOWING)
    assert matches(found.url_path.path, path) is holds


@pytest.mark.parametrize(
    ("kind", "value", "path", "holds"),
    [
        (EXACT, "/caf%C3%A9", "/caf%c3%A9", True),
        (EXACT, "/caf\u00e9", "/caf%C3%A9", True),
        (EXACT, "/users:delete", "/users%3adelete", True),
        (EXACT, "/users%3Adelete", "/users:delete", True),
        (EXACT, "/a b", "/a%20b", True),
        (EXACT, "/%61", "/a", True),
        (EXACT, "/a%5Cb", "/a/b", True),
        (EXACT, "/a%2525", "/a%25", False),
        (EXACT, "/a(b", "/ab", False),
        (PREFIX, "/a;", "/a%3Bx", True),
        (SUFFIX, ";z", "/x%3bz", True),
        (TEMPLATE, "/a;b/{*}", "/a%3Bb/c[d", True),
        (TEMPLATE, "/a/{**}/z", "/a/b[/c/z", True),
        (PRESENT, "", "/", True),
    ],
)
def test_every_spelling_of_a_path_counts_where_it_refuses(kind: TextKind, value: str, path: str, holds: bool) -> None:
    found = questions.permission(asks(Attribute.PATH, kind, value), REFUSING)
    assert matches(found.url_path.path, path) is holds
    call = Call(port=80, path=path)
    assert asking.holds(asks(Attribute.PATH, kind, value), call, "local", refuses=True) is holds


def test_a_path_of_plain_letters_is_compared_without_an_expression() -> None:
    found = questions.permission(asks(Attribute.PATH, PREFIX, "/shop/v1_items~x/"), REFUSING)
    assert found.url_path.path.prefix == "/shop/v1_items~x/"


@pytest.mark.parametrize(
    ("caller", "namespace", "account"),
    [
        ("spiffe://other/cluster/a/ns/shop/x/sa/web/pod/1", True, True),
        ("spiffe://other/ns/shop/sa/web", True, True),
        ("spiffe://other/ns/shop/sa/web2", True, False),
        ("spiffe://other/ns/shopping/sa/web", False, False),
        ("spiffe://other/ns/shop", False, False),
        ("spiffe://other/shop/sa/web", False, False),
    ],
)
def test_an_identity_of_any_form_is_refused_by_the_namespace_that_it_names(
    caller: str, namespace: bool, account: bool
) -> None:
    for attribute, value, holds in (
        (Attribute.NAMESPACE, "shop", namespace),
        (Attribute.SERVICE_ACCOUNT, "shop/web", account),
    ):
        question = asks(attribute, EXACT, value)
        assert who(question, caller, REFUSING) is holds
        assert not who(question, caller, ALLOWING)
        assert asking.holds(question, Call(port=80, caller=caller), "local", refuses=True) is holds


@pytest.mark.parametrize(
    ("kind", "value", "caller", "holds"),
    [
        (EXACT, "local", WEB, True),
        (EXACT, "loca", WEB, False),
        (EXACT, "l.cal", WEB, False),
        (PREFIX, "lo", WEB, True),
        (SUFFIX, ".example", "spiffe://a.example/x", True),
        (SUFFIX, "web", WEB, False),
        (PRESENT, "", WEB, True),
        (PRESENT, "", "spiffe://local", False),
        (PRESENT, "", "", False),
    ],
)
@pytest.mark.parametrize("asked", [ALLOWING, REFUSING])
def test_a_trust_domain_is_the_first_part_of_an_identity(
    kind: TextKind, value: str, caller: str, holds: bool, asked: Asked
) -> None:
    question = asks(Attribute.TRUST_DOMAIN, kind, value)
    assert who(question, caller, asked) is holds
    assert asking.holds(question, Call(port=80, caller=caller), "local", refuses=asked.refuses) is holds


def test_a_port_that_is_known_is_decided_at_once() -> None:
    known = asks(Attribute.PORT, EXACT, "80")
    assert questions.permission(known, ALLOWING).any
    assert questions.permission(asks(Attribute.PORT, EXACT, "81"), ALLOWING).not_rule.any
    anywhere = Asked(domain="local", port=0, issuers=(), refuses=False)
    assert questions.permission(known, anywhere).destination_port == 80


def test_blocks_and_addresses() -> None:
    def block(attribute: Attribute, value: str) -> tuple[str, int]:
        if attribute in questions.PERMISSIONS:
            found = questions.permission(asks(attribute, EXACT, value), ALLOWING).destination_ip
        else:
            made = questions.principal(asks(attribute, EXACT, value), ALLOWING)
            found = (
                made.direct_remote_ip
                if attribute is Attribute.IP_BLOCK
                else made.or_ids.ids[0].and_ids.ids[1].remote_ip
            )
        return found.address_prefix, found.prefix_len.value

    assert block(Attribute.IP_BLOCK, "10.0.0.0/8") == ("10.0.0.0", 8)
    assert block(Attribute.REMOTE_IP_BLOCK, "192.0.2.1") == ("192.0.2.1", 32)
    assert block(Attribute.DESTINATION_IP, "2001:db8::1") == ("2001:db8::1", 128)


def test_where_the_original_client_is_is_believed_of_callers_with_an_identity_alone() -> None:
    question = asks(Attribute.REMOTE_IP_BLOCK, EXACT, "192.0.2.0/24")
    said, seen = questions.principal(question, ALLOWING).or_ids.ids
    known, forwarded = said.and_ids.ids
    assert matches(known.authenticated.principal_name, WEB)
    assert forwarded.remote_ip.address_prefix == "192.0.2.0"
    unknown, direct = seen.and_ids.ids
    assert unknown.not_id == known
    assert direct.direct_remote_ip.address_prefix == "192.0.2.0"
    at_edge = questions.principal(question, Asked("local", 80, (), refuses=False, edge=True))
    assert at_edge.remote_ip.address_prefix == "192.0.2.0"


def test_methods_and_server_names() -> None:
    assert questions.permission(asks(Attribute.METHOD, EXACT, "GET"), ALLOWING).header.string_match.exact == "GET"
    found = questions.permission(asks(Attribute.SNI, SUFFIX, ".example"), ALLOWING)
    assert found.requested_server_name.suffix == ".example"


def test_several_values_and_exceptions_are_one_question() -> None:
    texts = (Text(EXACT, "GET"), Text(EXACT, "PUT"))
    found = questions.permission(Question(Attribute.METHOD, texts, (Text(EXACT, "HEAD"),)), ALLOWING)
    either, excepted = found.and_rules.rules
    assert len(either.or_rules.rules) == 2
    assert excepted.not_rule.header.string_match.exact == "HEAD"
    assert questions.permission(Question(Attribute.METHOD), ALLOWING).any
    assert questions.principal(Question(Attribute.PRINCIPAL), ALLOWING).any


def claims(question: Question, asked: Asked = ALLOWING) -> list[tuple[list[str], matcher.ValueMatcher]]:
    made = questions.principal(question, asked)
    found = list(made.or_ids.ids) or [made]
    return [
        (
            [part.key for part in item.sourced_metadata.metadata_matcher.path],
            item.sourced_metadata.metadata_matcher.value,
        )
        for item in found
    ]


def test_a_claim_is_looked_for_in_the_token_of_every_issuer_as_a_text_and_as_a_list() -> None:
    found = claims(asks(Attribute.CLAIM, EXACT, "admin", "realm\0roles"))
    assert [path for path, _ in found] == [["payload-0", "realm", "roles"], ["payload-1", "realm", "roles"]]
    text, several = found[0][1].or_match.value_matchers
    assert text.string_match.exact == "admin"
    assert several.list_match.one_of.string_match.exact == "admin"


def test_audiences_and_presenters_are_claims() -> None:
    assert claims(asks(Attribute.AUDIENCE, EXACT, "a"))[0][0] == ["payload-0", "aud"]
    assert claims(asks(Attribute.PRESENTER, EXACT, "a"))[0][0] == ["payload-0", "azp"]


def test_nobody_has_a_claim_where_no_token_is_asked_for() -> None:
    nobody = Asked(domain="local", port=80, issuers=(), refuses=False)
    assert questions.principal(asks(Attribute.CLAIM, EXACT, "a", "b"), nobody).not_id.any
    assert questions.principal(asks(Attribute.REQUEST_PRINCIPAL, PRESENT), nobody).not_id.any


@pytest.mark.parametrize(
    ("kind", "value", "holds"),
    [
        (EXACT, "https://a.example/bob", [("payload-0", "bob")]),
        (EXACT, "b/", []),
        (EXACT, "c/bob", []),
        (PREFIX, "https://a.example/bo", [("payload-0", "bob")]),
        (PREFIX, "https://a.example/", [("payload-0", "anybody")]),
        (PREFIX, "b", [("payload-1", "anybody")]),
        (PREFIX, "c", []),
        (SUFFIX, "bob", [("payload-0", "xbob"), ("payload-1", "xbob")]),
        (PRESENT, "", [("payload-0", "x"), ("payload-1", "x")]),
    ],
)
@pytest.mark.parametrize("asked", [ALLOWING, REFUSING])
def test_a_request_principal_is_an_issuer_and_a_subject(
    kind: TextKind, value: str, holds: list[tuple[str, str]], asked: Asked
) -> None:
    made = questions.principal(asks(Attribute.REQUEST_PRINCIPAL, kind, value), asked)
    if not holds:
        assert made.not_id.any
        return
    found = claims(asks(Attribute.REQUEST_PRINCIPAL, kind, value), asked)
    assert [path for path, _ in found] == [[key, "sub"] for key, _ in holds]
    assert all(matches(value.string_match, subject) for (_, value), (_, subject) in zip(found, holds, strict=True))
    assert not any(matches(value.string_match, "") for _, value in found)


@pytest.mark.parametrize(
    ("kind", "value", "issuer", "subject", "allowed", "refused"),
    [
        (EXACT, "https://a.example/bob", "https://a.example", "bob", True, True),
        (EXACT, "b/bob/x", "b", "bob/x", False, True),
        (EXACT, "b/bob/x", "b/bob", "x", True, True),
        (EXACT, "b/", "b", "x", False, False),
        (EXACT, "b", "b", "x", False, False),
        (PREFIX, "https://", "https://a.example", "x", False, True),
        (PREFIX, "b/bob/", "b", "bob/x", False, True),
        (PREFIX, "b/bob/", "b/bob", "x", True, True),
        (PREFIX, "b/bo", "b", "bob", True, True),
        (PREFIX, "b", "b/bob", "x", True, True),
        (SUFFIX, "/bob", "b", "bob", True, True),
        (SUFFIX, "/bob", "b", "x/bob", False, True),
        (SUFFIX, "example/bob", "https://a.example", "bob", True, True),
        (SUFFIX, "example/bob", "b", "x-example/bob", False, True),
        (SUFFIX, "bob", "b", "x/bob", True, True),
        (PRESENT, "", "b", "x/y", True, True),
    ],
)
def test_nobody_is_another_issuers_by_the_subject_that_it_chose(
    kind: TextKind, value: str, issuer: str, subject: str, allowed: bool, refused: bool
) -> None:
    question = asks(Attribute.REQUEST_PRINCIPAL, kind, value)
    call = Call(port=80, tokens=({"iss": issuer, "sub": subject},))
    for refuses, holds in ((False, allowed), (True, refused)):
        one = Asked("local", 80, (TokenIssuer(source="a", issuer=issuer),), refuses)
        found = [] if questions.principal(question, one).not_id.any else claims(question, one)
        assert any(matches(each.string_match, subject) for _, each in found) is holds
        assert asking.holds(question, call, "local", refuses=refuses) is holds


@pytest.mark.parametrize("attribute", list(Attribute))
def test_every_attribute_is_asked_as_what_envoy_knows_it(attribute: Attribute) -> None:
    value = "80" if attribute is Attribute.PORT else "10.0.0.1"
    question = asks(attribute, EXACT, value, "x")
    if attribute in questions.PERMISSIONS:
        assert questions.permission(question, ALLOWING).WhichOneof("rule")
        with pytest.raises(ValueError, match="not about who calls"):
            questions.principal(question, ALLOWING)
    else:
        assert questions.principal(question, ALLOWING).WhichOneof("identifier")
        if attribute is not Attribute.HEADER:
            with pytest.raises(ValueError, match="not about what is called"):
                questions.permission(question, ALLOWING)
