"""Who asks by the door."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest
from starlette.requests import Request

from tests.support.stores import Clock
from weft.model.trust import Trust
from weft.sources.tokens import Role, Tokens
from weft.web.access import CALLER, Caller
from weft.web.door import AT_ONCE, Door

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio

BERT = "spiffe://local/weft/host/bert"


async def caller(tmp_path: Path, *headers: tuple[str, str], banned: tuple[str, ...] = ()) -> Caller:
    """Who a request with these headers comes from."""
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
    door = Door(inside, tokens, lambda: Trust(banned=banned), uri, "anna")
    await door(scope, nothing, nothing)  # type: ignore[arg-type]  # neither is used
    return found[0]


def uri(header: str) -> str:
    """Who a header stands for, in the short form that these tests write (``identity.standing`` has its own)."""
    return header.partition("URI=")[2]


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


class Watching:
    """A door with an application behind it that says something, waits for ``go``, and says more."""

    def __init__(self, tmp_path: Path, said: tuple[str, str]) -> None:
        self.clock = Clock()
        self.tokens = Tokens(tmp_path / "tokens.json", self.clock)
        self.go = anyio.Event()
        self.sent: list[Message] = []
        self.banned: tuple[str, ...] = ()
        self.peer = BERT
        self.scope: Scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "headers": [(said[0].encode(), said[1].encode())],
            "query_string": b"",
        }
        self.door = Door(self._watch, self.tokens, lambda: Trust(banned=self.banned), lambda _: self.peer, "anna")

    async def _watch(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the form of an application
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"before", "more_body": True})
        await self.go.wait()
        await send({"type": "http.response.body", "body": b"after", "more_body": True})

    async def ask(self) -> None:
        async def nothing() -> Message:
            return {}

        async def send(message: Message) -> None:
            self.sent.append(message)

        await self.door(self.scope, nothing, send)

    @property
    def bodies(self) -> list[object]:
        return [message["body"] for message in self.sent if "body" in message]


@pytest.mark.parametrize("how", ["banned", "ended", "not at all"])
async def test_a_watch_of_a_host_that_is_nobody_meanwhile_says_nothing_more(tmp_path: Path, how: str) -> None:
    watching = Watching(tmp_path, shown(BERT))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watching.ask)
        await anyio.wait_all_tasks_blocked()
        watching.banned = (BERT,) if how == "banned" else ()
        watching.peer = "" if how == "ended" else BERT
        watching.go.set()
    assert watching.bodies == ([b"before", b"after"] if how == "not at all" else [b"before"])


@pytest.mark.parametrize("how", ["revoked", "expired", "replaced", "not at all"])
async def test_a_watch_of_a_token_that_ends_meanwhile_says_nothing_more(tmp_path: Path, how: str) -> None:
    watching = Watching(tmp_path, ("authorization", ""))
    _, secret = await watching.tokens.create("ops", Role.VIEWER, 60, "root")
    watching.scope["headers"] = [(b"authorization", f"Bearer {secret}".encode())]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watching.ask)
        await anyio.wait_all_tasks_blocked()
        if how in ("revoked", "replaced"):
            await watching.tokens.revoke("ops")
        if how == "replaced":
            await watching.tokens.create("ops", Role.VIEWER, 60, "root")
        watching.clock.advance(61 if how == "expired" else 0)
        watching.go.set()
    assert watching.bodies == ([b"before", b"after"] if how == "not at all" else [b"before"])


async def test_who_is_nobody_when_the_answer_comes_hears_that_and_no_error_of_the_server(tmp_path: Path) -> None:
    asking = Watching(tmp_path, shown(BERT))

    async def late(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - the form of an application
        await asking.go.wait()
        await send({"type": "http.response.start", "status": 200})

    asking.door = Door(late, asking.tokens, Trust, lambda _: asking.peer, "anna")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(asking.ask)
        await anyio.wait_all_tasks_blocked()
        asking.peer = ""
        asking.go.set()
    assert [message["status"] for message in asking.sent if "status" in message] == [401]
    assert b"may have been done" in asking.sent[-1]["body"]


async def test_nobody_has_more_than_his_share_of_requests_open(tmp_path: Path) -> None:
    watching = Watching(tmp_path, shown(BERT))
    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(watching.ask)
        await anyio.wait_all_tasks_blocked()
        assert len(watching.bodies) == AT_ONCE
        await watching.ask()
        assert watching.sent[-2]["status"] == 429
        assert json.loads(watching.sent[-1]["body"])["details"]["problems"][0]["code"] == "WFT-1265"
        watching.peer = "spiffe://local/weft/host/cleo"
        tasks.start_soon(watching.ask)
        await anyio.wait_all_tasks_blocked()
        assert watching.bodies[-1] == b"before"
        tasks.cancel_scope.cancel()
    watching.peer = BERT
    watching.go.set()
    await watching.ask()
    assert watching.bodies[-1] == b"after", "there is room again"


async def test_without_a_certificate_the_token_says_who_it_is(tmp_path: Path) -> None:
    assert (await caller(tmp_path, ("authorization", "Bearer secret"))).role is Role.EDITOR
    assert (await caller(tmp_path, ("authorization", "Bearer other"))).role is Role.ANONYMOUS
    assert (await caller(tmp_path)).role is Role.ANONYMOUS
