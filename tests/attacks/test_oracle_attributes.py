"""Every attribute of a rule, generated: what the real Envoy decides is what the oracle of ``weft can`` says.

``tests/envoy/test_policy_oracle.py`` has hosts and paths in odd spellings; here are tokens at an edge (issuers, subjects,
audiences, presenters, claims in lists and in lists of words, addresses and names that are not there), and callers with identities
of every form at a workload, by mutual TLS and in the clear, on requests and on connections.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.envoy.policy_rig import guarded
from tests.envoy.tokens import Issuer, ec
from tests.support.attacks import PEER_NAME, context, heard, pair
from tests.support.figures import figure
from weft.explain.authz import decide
from weft.explain.call import Call, at_edge
from weft.model.trust import (
    Action,
    Attribute,
    AuthPolicy,
    AuthRule,
    Guard,
    Question,
    Text,
    TextKind,
    TlsMode,
    TokenIssuer,
    TokenPlace,
    Trust,
)
from weft.names import ALPN_RAW

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.anyio, pytest.mark.timeout(300)]
SIMPLE: Final = (TextKind.EXACT, TextKind.EXACT, TextKind.PREFIX, TextKind.SUFFIX, TextKind.PRESENT)
CALLED: Final = frozenset(
    {Attribute.HOST, Attribute.METHOD, Attribute.PATH, Attribute.PORT, Attribute.DESTINATION_IP, Attribute.SNI}
)
ONLY_EXACT: Final = frozenset(
    {
        Attribute.PORT,
        Attribute.IP_BLOCK,
        Attribute.REMOTE_IP_BLOCK,
        Attribute.DESTINATION_IP,
        Attribute.SERVICE_ACCOUNT,
    }
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Words:
    """Guards made of some words. ``names`` are those of headers and claims."""

    def __init__(
        self, pick: random.Random, words: dict[Attribute, tuple[str, ...]], names: dict[Attribute, tuple[str, ...]]
    ) -> None:
        self.pick = pick
        self.words = words
        self.names = names

    def text(self, attribute: Attribute) -> Text:
        kind = TextKind.EXACT if attribute in ONLY_EXACT else self.pick.choice(SIMPLE)
        word = self.pick.choice(self.words[attribute])
        if "{" in word:
            return Text(TextKind.TEMPLATE, word)
        if kind is TextKind.PRESENT:
            return Text(kind)
        if kind is TextKind.EXACT:
            return Text(kind, f"spiffe://{word}" if attribute is Attribute.PRINCIPAL else word)
        cut = self.pick.choice([each for each in range(len(word) + 1) if "%" not in word[max(each - 2, 0) : each]])
        if kind is TextKind.SUFFIX:
            return Text(kind, word[cut:] or word)
        begin = word[:cut] or word
        return Text(kind, f"spiffe://{begin}" if attribute is Attribute.PRINCIPAL else begin)

    def question(self, attribute: Attribute) -> Question:
        def some(least: int) -> tuple[Text, ...]:
            return tuple(self.text(attribute) for _ in range(self.pick.randint(least, 2)))

        name = self.pick.choice(self.names.get(attribute, ("",)))
        if self.pick.random() < 0.7:
            return Question(attribute, some(1), some(0) if self.pick.random() < 0.3 else (), name)
        return Question(attribute, (), some(1), name)

    def groups(self, attributes: list[Attribute]) -> tuple[tuple[Question, ...], ...]:
        def group() -> tuple[Question, ...]:
            return tuple(self.question(each) for each in self.pick.sample(attributes, self.pick.randint(1, 2)))

        return tuple(group() for _ in range(self.pick.randint(0, 2)))

    def rule(self, source: str) -> AuthRule:
        attributes = list(self.words)
        conditions = self.groups(attributes)[:1] if self.pick.random() < 0.3 else ()
        return AuthRule(
            source,
            self.groups([each for each in attributes if each not in CALLED]),
            self.groups([each for each in attributes if each in CALLED]),
            conditions[0] if conditions else (),
        )

    def guard(self, **fields: Any) -> Guard:  # noqa: ANN401 - fields of Guard
        policies = []
        for number in range(self.pick.randint(1, 3)):
            source = f"AuthorizationPolicy/default/p{number}"
            rules = tuple(self.rule(f"{source}/rules/{each}") for each in range(self.pick.randint(0, 2)))
            action = self.pick.choice((Action.DENY, Action.ALLOW, Action.ALLOW, Action.AUDIT))
            policies.append(AuthPolicy(source, action, rules, dry_run=self.pick.random() < 0.1))
        return Guard(policies=tuple(policies), default_deny=self.pick.random() < 0.2, **fields)


PATHS: Final = (
    *(
        "/",
        "/a:b",
        "/a%3ab",
        "/a%3Ab/c",
        "/caf%C3%A9",
        "/caf%c3%a9",
        "/a|b",
        "/a%7cb",
        "/x[y/z",
        "/x%5By/z",
        "/a;b?x=/c",
    ),
    *("/a/b:c/d", "/a/b%3ac/d", "/a%252f", "/a(b)", "/a%28b%29"),
)
AT_EDGE: Final = {
    Attribute.PATH: (
        "/a:b",
        "/a%3Ab",
        "/caf%C3%A9",
        "/caf\u00e9",
        "/a|b",
        "/x[y/{*}",
        "/a/{*}/d",
        "/a(b)",
        "/{**}",
        "/a/b:c/{**}",
    ),
    Attribute.METHOD: ("GET", "POST"),
    Attribute.PORT: ("80", "8080"),
    Attribute.SNI: ("app.example",),
    Attribute.DESTINATION_IP: ("0.0.0.0/0", "::/0"),
    Attribute.IP_BLOCK: ("0.0.0.0/0", "::/0"),
    Attribute.HEADER: ("red", "blue", "r,b"),
    Attribute.PRINCIPAL: ("local/ns/a/sa/b",),
    Attribute.TRUST_DOMAIN: ("local",),
    Attribute.REQUEST_PRINCIPAL: (
        *(
            "https://a.example/alice",
            "https://a.example/b/alice",
            "https://a.example/x/alice",
            "alice",
            "b/alice",
            "/alice",
        ),
        *("https://a.example/", "https://a.example/b/", "https://a.example"),
    ),
    Attribute.AUDIENCE: ("shop", "bank"),
    Attribute.PRESENTER: ("app",),
    Attribute.CLAIM: ("read", "write", "ops", "read write", "true"),
}
NAMES: Final = {
    Attribute.HEADER: ("x-team",),
    Attribute.CLAIM: ("roles", "scope", "other", "realm\0roles", "realm", "flag", "missing\0deep"),
}
CLAIMS: Final[tuple[dict[str, Any], ...]] = (
    {"sub": "alice"},
    {"sub": "b/alice", "aud": ["bank", "shop"], "roles": "read  write", "azp": "app"},
    {"sub": "x/alice", "scope": "ops read", "other": "read write", "azp": ["app", "other"]},
    {"sub": None, "realm": {"roles": ["ops", "read"]}, "flag": True},
    {"sub": "", "roles": ["read write", "ops"], "realm": "ops", "missing": "deep"},
)
TEAMS: Final = (
    *((), (("x-team", "red"),), (("x-team", ""),), (("x-team", "blue"), ("X-Team", "red")), (("x-team", "r,b"),)),
    *((("x_team", "red"),), (("X_Team", "red"), ("x-team", "blue"))),
)


def token_sets(one: Issuer, two: Issuer) -> list[tuple[list[tuple[str, str]], tuple[dict[str, Any], ...]]]:
    """Headers with tokens, and what is said by those that count: the first two issuers' words are lists."""

    def said(issuer: Issuer, changes: dict[str, Any]) -> dict[str, Any]:
        claims = issuer.claims(**changes)
        if isinstance(claims.get("roles"), str):
            claims["roles"] = claims["roles"].split()
        return claims

    found: list[tuple[list[tuple[str, str]], tuple[dict[str, Any], ...]]] = [([], ())]
    for changes in CLAIMS:
        first, second = one.token(**changes), two.token(**changes)
        found.append(([("Authorization", f"Bearer {first}")], (said(one, changes),)))
        found.append(([("x-other", second)], (said(two, changes),)))
    found.append(
        (
            [("Authorization", f"Bearer {one.token()}"), ("x-other", two.token(**CLAIMS[1]))],
            (said(one, {}), said(two, CLAIMS[1])),
        )
    )
    return found


async def test_what_tokens_and_requests_say_is_decided_as_the_oracle_says(envoy_binary: Path) -> None:
    pick = random.Random(11)  # noqa: S311 - the same guards every time
    one, two = ec("https://a.example"), ec("https://a.example/b")
    issuers = tuple(
        TokenIssuer(
            source=f"RequestAuthentication/default/r/jwtRules/{number}",
            issuer=each.name,
            jwks=each.jwks,
            spaced=("roles",),
            places=places,
        )
        for number, (each, places) in enumerate(((one, ()), (two, (TokenPlace(header="x-other"),))))
    )
    tokens = token_sets(one, two)
    words = Words(pick, AT_EDGE, NAMES)
    asked, differing = {200: 0, 403: 0}, []
    async with guarded(envoy_binary, Guard()) as edge:
        for number in range(150):
            made = words.guard(issuers=issuers)
            await edge.guard(made)
            for _ in range(12):
                (shown, said), path, team = pick.choice(tokens), pick.choice(PATHS), pick.choice(TEAMS)
                method = pick.choice(("GET", "POST"))
                status = await edge.status(path, method=method, headers=[*shown, *team])
                asked[status] += 1
                call = Call(
                    port=80, edge=True, method=method, path=path, host=at_edge("app.example"), headers=team, tokens=said
                )
                found = decide(made, call, Trust())
                if found.allowed != (status == 200):
                    differing.append((number, status, method, path, team, said, found.reason, made.policies))
    figure("E", f"oracle with tokens: {len(differing)} of {sum(asked.values())} requests differ; {asked}")
    assert differing == [], differing[:2]
    assert min(asked.values()) > 300, asked


CALLERS: Final = (
    *("", "spiffe://local/ns/a/sa/b", "spiffe://local/ns/ab/sa/b", "spiffe://local/ns/a/sa/bc"),
    *("spiffe://local/cluster/x/ns/a/sa/b/pod/1", "spiffe://local/weft/host/a", "spiffe://local/ns/a/b/sa/b"),
)
AT_WORKLOAD: Final = {
    Attribute.PRINCIPAL: ("local/ns/a/sa/b", "local/ns/ab/sa/b", "local/weft/host/a", "local/ns/a"),
    Attribute.NAMESPACE: ("a", "ab", "x"),
    Attribute.SERVICE_ACCOUNT: ("a/b", "a/bc", "ab/b"),
    Attribute.TRUST_DOMAIN: ("local", "other"),
    Attribute.SNI: (PEER_NAME, "web.example"),
    Attribute.PORT: ("9080", "80"),
    Attribute.IP_BLOCK: ("0.0.0.0/0", "::/0"),
    Attribute.DESTINATION_IP: ("0.0.0.0/0",),
}
OF_REQUESTS: Final = {
    Attribute.METHOD: ("GET", "POST"),
    Attribute.PATH: ("/a", "/a:b", "/{*}"),
    Attribute.HEADER: ("red",),
    Attribute.REMOTE_IP_BLOCK: ("192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "0.0.0.0/0"),
}
CLIENTS: Final = ("", "192.0.2.7", "198.51.100.7, 192.0.2.9", "2001:db8::1", "nonsense")


def request(method: str, path: str, team: str | None, client: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: web", "Connection: close", "Content-Length: 0"]
    lines += [f"x-team: {team}"] if team is not None else []
    lines += [f"x-forwarded-for: {client}"] if client else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize("requests", [True, False])
async def test_who_calls_is_decided_as_the_oracle_says(envoy_binary: Path, requests: bool) -> None:
    """``requests``: some questions are about requests, so that the proxy reads them; else connections are decided about."""
    pick = random.Random(13)  # noqa: S311 - the same guards every time
    words = Words(pick, {**AT_WORKLOAD, **OF_REQUESTS} if requests else AT_WORKLOAD, {Attribute.HEADER: ("x-team",)})
    asked, differing = {True: 0, False: 0}, []
    async with pair(envoy_binary) as both:
        await both.change(guard=Guard(mode=TlsMode.PERMISSIVE))
        await both.start_callee()
        known = {
            each: context(both.mesh.directory, both.authority.svid(each), (ALPN_RAW,)) if each else None
            for each in CALLERS
        }
        for number in range(60):
            made = words.guard(mode=pick.choice((TlsMode.PERMISSIVE, TlsMode.PERMISSIVE, TlsMode.STRICT)))
            await both.change(guard=made)
            for _ in range(8):
                caller, path = pick.choice(CALLERS), pick.choice(("/a", "/a%3ab", "/a:b", "/b/c"))
                method, team, client = (
                    pick.choice(("GET", "POST")),
                    pick.choice((None, "red", "")),
                    pick.choice(CLIENTS),
                )
                answer = await heard(both.inside, known[caller], request(method, path, team, client))
                allowed = answer.startswith(b"HTTP/1.1 200")
                assert allowed or not answer or answer.startswith(b"HTTP/1.1 403"), answer
                asked[allowed] += 1
                told = client.rpartition(",")[2].strip() if caller and client != "nonsense" else ""
                call = Call(
                    caller=caller,
                    port=9080,
                    method=method,
                    path=path,
                    host="web",
                    headers=(("x-team", team),) if team is not None else (),
                    remote_ip=told,
                    sni=PEER_NAME if caller else "",
                )
                found = decide(made, call, Trust())
                if found.allowed != allowed:
                    differing.append((number, allowed, caller, method, path, team, client, found.reason, made))
    figure("E", f"oracle with identities: {len(differing)} of {sum(asked.values())} calls differ; {asked}")
    assert differing == [], differing[:2]
    assert min(asked.values()) > 100, asked
