"""The oracle of policy against the real Envoy: generated guards and requests, in spellings that could be read in two ways.

An edge without identities, so that rules ask about requests: methods, paths, hosts and headers. Pairs of services with
identities are compared in tests/attacks/test_oracle.py.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest

from tests.envoy.policy_rig import guarded
from weft.explain.authz import decide
from weft.explain.call import Call, at_edge
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Question, Text, TextKind, Trust

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

GUARDS: Final = 200
REQUESTS: Final = 25
PATHS: Final = (
    *("/", "/a", "/a/", "/a/b", "/a/b/c", "/A", "/admin", "/admin/x", "//admin", "/./admin", "/a/../admin", "/a//b"),
    *(
        "/%61",
        "/a%2Fb",
        "/a%2fb",
        "/a%5Cb",
        "/%2e%2e/admin",
        "/a;x",
        "/a?x=/admin",
        "/admin?x",
        "/%2561",
        "/a%20b",
        "/a.b",
    ),
    *("/a/./b", "/a/b/..", "/a\\b", "/a/%2e/b", "/x/..%2fadmin", "/admin%00", "/a~b"),
)
HOSTS: Final = (
    *(
        "app.example",
        "APP.example",
        "app.example.",
        "app.example:80",
        "app.example.:80",
        "other.example",
        "xapp.example",
    ),
    *("app.example:x", "me@app.example", "app.example:8080"),
)
HEADERS: Final = (
    (),
    (("x-team", "red"),),
    (("X-Team", "red"), ("x-team", "blue")),
    (("x-team", "blue,red"),),
    (("x-team", " red "),),
    (("x-team", "redder"),),
    (("x-team", ""),),
    (("x-team", "a, b"), ("x-other", "red")),
)
TEXTS: Final = {
    Attribute.PATH: ("/a", "/admin", "/a/b", "/a/", "/a b", "/"),
    Attribute.METHOD: ("GET", "POST", "G"),
    Attribute.HOST: ("app.example", "App.Example", "example", "app.example:80", "app.example:8080", "app"),
    Attribute.HEADER: ("red", "blue", "red,blue", "a, b", "re"),
    Attribute.PRINCIPAL: ("local/ns/a/sa/b",),
}
TEMPLATES: Final = ("/{*}", "/a/{*}", "/{*}/b", "/{**}", "/a/{**}", "/{*}/{**}")
CALLED: Final = (Attribute.PATH, Attribute.METHOD, Attribute.HOST)
CALLING: Final = (Attribute.HEADER, Attribute.PRINCIPAL)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def text(pick: random.Random, attribute: Attribute) -> Text:
    kinds = [TextKind.EXACT, TextKind.EXACT, TextKind.PREFIX, TextKind.SUFFIX, TextKind.PRESENT]
    if attribute is Attribute.PATH:
        kinds.append(TextKind.TEMPLATE)
    kind = pick.choice(kinds)
    if kind is TextKind.TEMPLATE:
        return Text(kind, pick.choice(TEMPLATES))
    return Text(kind, "" if kind is TextKind.PRESENT else pick.choice(TEXTS[attribute]))


def question(pick: random.Random, attribute: Attribute) -> Question:
    found = tuple(text(pick, attribute) for _ in range(pick.randint(1, 2)))
    name = "x-team" if attribute is Attribute.HEADER else ""
    return Question(attribute, found, (), name) if pick.random() < 0.65 else Question(attribute, (), found, name)


def group(pick: random.Random, attributes: tuple[Attribute, ...]) -> tuple[Question, ...]:
    return tuple(question(pick, each) for each in pick.sample(attributes, pick.randint(1, len(attributes))))


def rule(pick: random.Random, source: str) -> AuthRule:
    def groups(attributes: tuple[Attribute, ...]) -> tuple[tuple[Question, ...], ...]:
        return tuple(group(pick, attributes) for _ in range(pick.randint(0, 2)))

    conditions = group(pick, (Attribute.HEADER,)) if pick.random() < 0.3 else ()
    return AuthRule(source, groups(CALLING), groups(CALLED), conditions)


def guard(pick: random.Random) -> Guard:
    policies = []
    for number in range(pick.randint(1, 3)):
        source = f"AuthorizationPolicy/default/p{number}"
        rules = tuple(rule(pick, f"{source}/rules/{each}") for each in range(pick.randint(0, 2)))
        action = pick.choice((Action.DENY, Action.ALLOW, Action.ALLOW))
        policies.append(AuthPolicy(source, action, rules, dry_run=pick.random() < 0.15))
    return Guard(policies=tuple(policies), default_deny=pick.random() < 0.2)


async def test_every_answer_is_the_oracles(envoy_binary: Path) -> None:
    pick = random.Random(7)  # noqa: S311 - the same guards every time
    asked, differing = {200: 0, 403: 0}, []
    async with guarded(envoy_binary, Guard()) as edge:
        for number in range(GUARDS):
            made = guard(pick)
            await edge.guard(made)
            for _ in range(REQUESTS):
                path, host, headers = pick.choice(PATHS), pick.choice(HOSTS), pick.choice(HEADERS)
                method = pick.choice(("GET", "GET", "POST", "PUT"))
                status = await edge.status(path, host=host, method=method, headers=headers)
                if status not in asked:
                    continue  # neither: Envoy does not take such a request at all
                asked[status] += 1
                call = Call(port=80, edge=True, method=method, path=path, host=at_edge(host), headers=headers)
                found = decide(made, call, Trust())
                if found.allowed != (status == 200):
                    differing.append((number, status, method, path, host, headers, found.reason, made))
    assert differing == [], f"{len(differing)} of {sum(asked.values())}: {differing[:3]}"
    assert min(asked.values()) > 300, asked
