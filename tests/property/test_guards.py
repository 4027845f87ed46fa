"""Whatever a guard asks, Envoy would take what is made of it, the same bytes each time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from weft.envoy import api, check, extensions
from weft.envoy.extensions import Guarded
from weft.envoy.filters import rbac
from weft.envoy.filters.rbac import Gate
from weft.model.trust import (
    Action,
    Attribute,
    AuthPolicy,
    AuthRule,
    Guard,
    Provider,
    Question,
    Text,
    TextKind,
    TokenIssuer,
    TokenPlace,
    Trust,
)

words = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=20)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12)
blocks = st.sampled_from(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1", "0.0.0.0/0"])
BLOCKS = (Attribute.IP_BLOCK, Attribute.REMOTE_IP_BLOCK, Attribute.DESTINATION_IP)
CALLED = tuple(
    each for each in Attribute if each.value.startswith(("request.host", "request.m", "request.path", "dest", "conn"))
)
CALLING = tuple(each for each in Attribute if each not in CALLED)


@st.composite
def questions(draw: st.DrawFn, attributes: tuple[Attribute, ...]) -> Question:
    attribute = draw(st.sampled_from(attributes))
    if attribute in BLOCKS:
        texts = st.builds(Text, st.just(TextKind.EXACT), blocks)
    elif attribute is Attribute.PORT:
        texts = st.builds(Text, st.just(TextKind.EXACT), st.integers(1, 65535).map(str))
    else:
        kinds = [TextKind.EXACT, TextKind.PREFIX, TextKind.SUFFIX]
        texts = st.one_of(
            st.builds(Text, st.sampled_from(kinds), words), st.just(Text(TextKind.PRESENT)), template(attribute)
        )
    name = "\0".join(draw(st.lists(words, min_size=1, max_size=3))) if attribute is Attribute.CLAIM else draw(names)
    lists = st.lists(texts, max_size=3).map(tuple)
    return Question(attribute, draw(lists), draw(lists), name)


def template(attribute: Attribute) -> st.SearchStrategy[Text]:
    parts = st.lists(st.sampled_from(["a", "{*}", "b.c", "{**}", "(["]), max_size=4)
    made = st.builds(Text, st.just(TextKind.TEMPLATE), parts.map(lambda each: "/" + "/".join(each)))
    return made if attribute is Attribute.PATH else st.nothing()


def groups(attributes: tuple[Attribute, ...]) -> st.SearchStrategy[tuple[tuple[Question, ...], ...]]:
    return st.lists(st.lists(questions(attributes), max_size=3).map(tuple), max_size=2).map(tuple)


providers = st.builds(
    Provider,
    name=names,
    cluster=names,
    grpc=st.booleans(),
    fail_open=st.booleans(),
    status_on_error=st.integers(400, 599),
    path_prefix=st.sampled_from(["", "/check"]),
    include_headers=st.lists(names, max_size=2).map(tuple),
    headers_on_deny=st.lists(names, max_size=2).map(tuple),
    body_limit_bytes=st.integers(0, 1024),
    service=names,
)


@st.composite
def policies(draw: st.DrawFn) -> AuthPolicy:
    source = f"AuthorizationPolicy/{draw(names)}/{draw(names)}"
    rules = [
        AuthRule(
            source=f"{source}/rules/{number}",
            sources=draw(groups(CALLING)),
            operations=draw(groups((*CALLED, Attribute.HEADER))),
            conditions=draw(st.lists(questions(tuple(Attribute)), max_size=3).map(tuple)),
        )
        for number in range(draw(st.integers(0, 2)))
    ]
    action = draw(st.sampled_from(Action))
    provider = draw(st.none() | providers) if action is Action.CUSTOM else None
    return AuthPolicy(source=source, action=action, rules=tuple(rules), dry_run=draw(st.booleans()), provider=provider)


places = st.one_of(
    st.builds(TokenPlace, header=names, prefix=st.sampled_from(["", "Token "])),
    st.builds(TokenPlace, parameter=names),
    st.builds(TokenPlace, cookie=names),
)
issuers = st.builds(
    TokenIssuer,
    source=names,
    issuer=words,
    audiences=st.lists(words, max_size=2).map(tuple),
    jwks=st.sampled_from(["", '{"keys":[{"kty":"EC"}]}']),
    places=st.lists(places, max_size=3).map(tuple),
    forward=st.booleans(),
    claim_headers=st.lists(st.tuples(names, words), max_size=2).map(tuple),
)
guards = st.builds(
    Guard,
    policies=st.lists(policies(), max_size=3).map(tuple),
    issuers=st.lists(issuers, max_size=3).map(tuple),
    default_deny=st.booleans(),
)
trusts = st.builds(
    Trust, banned=st.lists(names.map(lambda name: f"spiffe://local/ns/a/sa/{name}"), max_size=2).map(tuple)
)


@settings(max_examples=60, deadline=None)
@given(guard=guards, trust=trusts, port=st.integers(0, 65535), edge=st.booleans())
def test_envoy_would_take_whatever_a_guard_asks(guard: Guard, trust: Trust, port: int, edge: bool) -> None:
    made = extensions.guarded(Guarded("inbound|80", Gate(guard, trust, port, edge)))
    assert [str(each) for each in check.findings(made)] == []
    assert extensions.guarded(Guarded("inbound|80", Gate(guard, trust, port, edge))).wire == made.wire
    for filter_ in rbac.network(guard, trust, port):
        assert [str(each) for each in check.refusals(filter_)] == []


@settings(max_examples=40, deadline=None)
@given(guard=guards, trust=trusts)
def test_a_guard_that_is_closed_opens_nothing(guard: Guard, trust: Trust) -> None:
    """Once something is allowed by name there is a last filter that refuses the rest, on requests and on connections."""
    closed = guard.default_deny or any(each.action is Action.ALLOW and not each.dry_run for each in guard.policies)
    names = [item.name for item in rbac.http(Gate(guard, trust))]
    assert ("envoy.filters.http.rbac.allow" in names) >= closed
    if closed:
        assert names[-1] == "envoy.filters.http.rbac.allow"
        last = rbac.network(guard, trust)[-1]
        assert b"policy.allow." in api.serialize(last)
