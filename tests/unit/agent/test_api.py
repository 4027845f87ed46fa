"""The agent's API over its real socket, with a supervisor that a test writes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from weft.agent import api, unix_http
from weft.agent.machine import Row
from weft.agent.proxy import UpgradeError
from weft.agent.unix_http import Answer
from weft.model.service import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from weft.agent.machine import Unit

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class FakeChild:
    pid = 7


class FakeProxy:
    def __init__(self) -> None:
        self.child = FakeChild()
        self.asked: list[tuple[str, str]] = []
        self.broken = False

    async def admin(self, method: str, target: str) -> Answer:
        if self.broken:
            raise unix_http.HttpError("gone")
        self.asked.append((method, target))
        return Answer(200, b"said", ((b"content-type", b"text/plain"),))

    async def upgrade(self) -> None:
        if self.broken:
            raise UpgradeError("not ready")


class FakeUnit:
    def __init__(self) -> None:
        self.proxy = FakeProxy()


class FakeSupervisor:
    def __init__(self, log: Path) -> None:
        self.unit = FakeUnit()
        self.log = log
        self.orders: list[tuple[str, str]] = []

    def rows(self) -> tuple[Row, ...]:
        return (Row(name="a", namespace="default", kind="app", state="serving"),)

    def find(self, name: str) -> Unit | None:
        return self.unit if name == "default/a" else None  # type: ignore[return-value]  # as much of one as is asked

    def log_of(self, name: str, *, proxy: bool) -> Path | None:
        return self.log if name == "default/a" and not proxy else None

    async def _order(self, what: str, name: str) -> bool:
        self.orders.append((what, name))
        return name == "default/a"

    async def restart(self, name: str) -> bool:
        return await self._order("restart", name)

    async def stop(self, name: str) -> bool:
        return await self._order("stop", name)

    async def start(self, name: str) -> bool:
        return await self._order("start", name)

    def enter(self, name: str) -> dict[str, Any] | None:
        return {"pid": 1} if name == "default/a" else None

    def end(self) -> None:
        self.orders.append(("end", ""))


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[FakeSupervisor, Callable[[str, str], Awaitable[Answer]]]]:
    supervisor = FakeSupervisor(tmp_path / "log")
    path = tmp_path / "agent.sock"

    async def ask(method: str, target: str) -> Answer:
        return await unix_http.request(Address(path=str(path)), method, target)

    async with anyio.create_task_group() as group:
        group.start_soon(api.serve, supervisor, path, path.with_name("names.json"))
        with anyio.fail_after(20):
            while not path.exists():  # noqa: ASYNC110 - no event
                await anyio.sleep(0.01)
        assert path.stat().st_mode & 0o777 == 0o600
        yield supervisor, ask
        group.cancel_scope.cancel()


async def test_it_shows_processes_and_takes_orders(tmp_path: Path) -> None:
    async with served(tmp_path) as (supervisor, ask):
        said = msgspec.json.decode((await ask("GET", "/v1/processes")).body)
        assert said["processes"][0]["name"] == "a"
        for order in ("restart", "stop", "start"):
            assert (await ask("POST", f"/v1/processes/default/a/{order}")).status == 200
        assert (await ask("GET", "/v1/processes/default/a/enter")).body == b'{"pid":1}'
        assert (await ask("POST", "/v1/stop")).status == 202
        assert [order for order, _ in supervisor.orders] == ["restart", "stop", "start", "end"]


async def test_a_name_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, ask):
        for method, target in (
            ("POST", "/v1/processes/b/stop"),
            ("GET", "/v1/processes/b/enter"),
            ("GET", "/v1/processes/b/logs"),
            ("GET", "/v1/proxies/b/admin/stats"),
            ("POST", "/v1/proxies/b/upgrade"),
        ):
            answer = await ask(method, target)
            assert answer.status == 404
            assert b"WFT-1606" in answer.body
            assert b"Use one of: a." in answer.body


async def test_logs_begin_with_the_last_lines(tmp_path: Path) -> None:
    async with served(tmp_path) as (supervisor, ask):
        assert (await ask("GET", "/v1/processes/default/a/logs")).body == b""
        supervisor.log.write_bytes(b"one\ntwo\nthree\n")
        assert (await ask("GET", "/v1/processes/default/a/logs?lines=2")).body == b"two\nthree\n"
        assert (await ask("GET", "/v1/processes/default/a/logs?lines=x")).status == 400


async def test_a_log_that_is_followed_goes_on_after_it_was_cut(tmp_path: Path) -> None:
    async with served(tmp_path) as (supervisor, _):
        supervisor.log.write_bytes(b"a long first line\n")
        target = "/v1/processes/default/a/logs?follow=true"
        found = []
        with anyio.fail_after(20):
            async for line in unix_http.lines(Address(path=str(tmp_path / "agent.sock")), target):
                found.append(line)
                if len(found) == 2:
                    break
                supervisor.log.write_bytes(b"new\n")
        assert found == [b"a long first line", b"new"]


async def test_admin_passes_on_what_reads_and_nothing_else(tmp_path: Path) -> None:
    async with served(tmp_path) as (supervisor, ask):
        proxy = supervisor.unit.proxy
        assert (await ask("GET", "/v1/proxies/default/a/admin/stats?filter=x")).body == b"said"
        assert (await ask("POST", "/v1/proxies/default/a/admin/logging?level=debug")).status == 200
        assert proxy.asked == [("GET", "/stats?filter=x"), ("POST", "/logging?level=debug")]
        for method, target in (("POST", "quitquitquit"), ("GET", "drain_listeners"), ("POST", "stats"), ("GET", "x/y")):
            answer = await ask(method, f"/v1/proxies/default/a/admin/{target}")
            assert (answer.status, b"WFT-1608" in answer.body) == (403, True)
        assert (await ask("POST", "/v1/proxies/default/a/admin/logging?level=evil")).status == 403
        proxy.broken = True
        assert (await ask("GET", "/v1/proxies/default/a/admin/stats")).status == 503


async def test_an_upgrade_says_the_new_process_or_why_there_is_none(tmp_path: Path) -> None:
    async with served(tmp_path) as (supervisor, ask):
        assert msgspec.json.decode((await ask("POST", "/v1/proxies/default/a/upgrade")).body)["pid"] == 7
        supervisor.unit.proxy.broken = True
        assert b"WFT-1610" in (await ask("POST", "/v1/proxies/default/a/upgrade")).body
