"""Who asks by the door."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.requests import Request

from weft.model.trust import Trust
from weft.sources.tokens import Role, Tokens
from weft.web.access import CALLER, Caller
from weft.web.door import Door

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio

BERT = "spiffe://local/weft/host/bert"


async def caller(tmp_path: Path, *headers: tuple[str, str], banned: tuple[str, ...] = ()) -> Caller:
    """Who a request with these headers comes from."""
    from tests.support.stores import Clock  # noqa: PLC0415 - the clock of tokens

    tokens = Tokens(tmp_path / "tokens.json", Clock())
    tokens.admit("ops", Role.EDITOR, "secret")
    found: list[Caller] = []

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - the form of an application
        found.append(scope[CALLER])

    async def nothing(*_: object) -> dict[str, object]:
        return {}

    raw = [(name.encode(), value.encode()) for name, value in headers]
    scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": raw, "query_string": b""}
    assert Request(scope).url.path == "/"
    door = Door(inside, tokens, lambda: Trust(banned=banned), "anna")
    await door(scope, nothing, nothing)  # type: ignore[arg-type]  # neither is used
    return found[0]


def shown(identity: str) -> tuple[str, str]:
    return "x-forwarded-client-cert", f"By=spiffe://local/weft/control;Hash=1;URI={identity}"


async def test_the_agent_of_a_joined_host_is_its_host(tmp_path: Path) -> None:
    found = await caller(tmp_path, shown(BERT), ("x-envoy-external-address", "10.0.0.2"))
    assert found == Caller(Role.HOST, BERT, "10.0.0.2", "bert")


@pytest.mark.parametrize(
    "identity",
    [
        "spiffe://local/ns/default/sa/web",
        "spiffe://local/weft/control",
        "spiffe://local/weft/host/anna",
        "spiffe://local/weft/host/bert/more",
        "spiffe://local/weft/host",
        "spiffe://elsewhere/weft/host/bert",
        "nonsense",
    ],
)
async def test_any_other_certificate_opens_nothing_whatever_token_comes_with_it(tmp_path: Path, identity: str) -> None:
    found = await caller(tmp_path, shown(identity), ("authorization", "Bearer secret"))
    assert (found.role, found.host) == (Role.ANONYMOUS, "")


async def test_two_headers_are_nobody(tmp_path: Path) -> None:
    assert (await caller(tmp_path, shown(BERT), shown(BERT))).role is Role.ANONYMOUS


async def test_a_banned_host_is_nobody(tmp_path: Path) -> None:
    assert (await caller(tmp_path, shown(BERT), banned=(BERT,))).role is Role.ANONYMOUS


async def test_a_watch_of_a_host_that_is_banned_meanwhile_says_nothing_more(tmp_path: Path) -> None:
    from tests.support.stores import Clock  # noqa: PLC0415 - the clock of tokens

    banned: list[str] = []
    sent: list[object] = []

    async def watch(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - the form of an application
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"before", "more_body": True})
        banned.append(BERT)
        await send({"type": "http.response.body", "body": b"after", "more_body": True})

    async def send(message: Message) -> None:
        sent.append(message.get("body"))

    async def nothing() -> Message:
        return {}

    door = Door(watch, Tokens(tmp_path / "tokens.json", Clock()), lambda: Trust(banned=tuple(banned)), "anna")
    name, value = shown(BERT)
    raw = [(name.encode(), value.encode())]
    await door({"type": "http", "method": "GET", "path": "/", "headers": raw, "query_string": b""}, nothing, send)
    assert sent == [None, b"before"]


async def test_without_a_certificate_the_token_says_who_it_is(tmp_path: Path) -> None:
    assert (await caller(tmp_path, ("authorization", "Bearer secret"))).role is Role.EDITOR
    assert (await caller(tmp_path, ("authorization", "Bearer other"))).role is Role.ANONYMOUS
    assert (await caller(tmp_path)).role is Role.ANONYMOUS
