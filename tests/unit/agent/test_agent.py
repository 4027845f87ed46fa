"""The agent as a whole, in process; with proxies and control: tests/envoy/test_agent.py."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from tests.support import fake_envoy
from tests.unit.agent.test_fallback import held_set
from weft.agent import agent, unix_http
from weft.agent.control import Names
from weft.agent.settings import from_environ
from weft.model.mesh import GatewaySpec, Placements, PortSpec, ProcessSpec
from weft.model.service import Address, HostReport, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def environ(tmp_path: Path) -> dict[str, str]:
    directories = {"WEFT_STATE_DIR": str(tmp_path / "s"), "WEFT_RUNTIME_DIR": str(tmp_path / "r")}
    return dict(os.environ) | directories | {"WEFT_CONTROL": "false", "WEFT_HOST": "here"}


def test_only_one_agent_holds_a_state_directory(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        agent.alone(lock),
        pytest.raises(agent.CannotRunError, match=f"WFT-1603.*pid {os.getpid()}"),
        agent.alone(lock),
    ):
        pass
    with agent.alone(lock):
        pass


async def test_it_refuses_to_run_without_envoy_or_with_directories_of_others(tmp_path: Path) -> None:
    with pytest.raises(agent.CannotRunError, match="WFT-1605"):
        await agent.run(from_environ(environ(tmp_path) | {"WEFT_ENVOY": "/absent"}))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(agent.CannotRunError, match="WFT-1601"):
        await agent.run(from_environ(environ(tmp_path) | {"WEFT_STATE_DIR": str(tmp_path / "link")}))


async def test_it_runs_its_own_processes_answers_and_ends_when_told(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(from_environ(environ(tmp_path)), grace_seconds=5)
    address = Address(path=str(settings.paths.agent_socket))

    async def kinds() -> dict[str, str]:
        try:
            rows = json.loads((await unix_http.request(address, "GET", "/v1/processes")).body)["processes"]
        except unix_http.HttpError:
            return {}
        return {row["kind"]: row["state"] for row in rows}

    async with anyio.create_task_group() as group:
        group.start_soon(agent.run, settings)
        with anyio.fail_after(20):
            while (await kinds()).get("agent") != "running":  # noqa: ASYNC110 - no event
                await anyio.sleep(0.02)
        assert (await unix_http.request(address, "GET", "/v1/processes/agent/logs")).status == 200
        assert (await unix_http.request(address, "POST", "/v1/processes/absent/stop")).status == 404
        assert (await unix_http.request(address, "POST", "/v1/stop")).status == 202
    assert not list(settings.paths.records.iterdir())


SERVER = """
import os, socket, time
one = socket.socket(); one.bind(("127.0.0.1", int(os.environ["PORT"]))); one.listen(); time.sleep(600)
"""
WANTED = Placements(
    processes=(
        ProcessSpec(
            namespace="default",
            name="a",
            service="a",
            version="v1",
            command=(sys.executable, "-c", SERVER),
            ports=(PortSpec(9080, "tcp", Protocol.TCP),),
        ),
    ),
    gateways=(GatewaySpec("default", "edge", (28181,)),),
)


class FakeControl:
    """Says what is wanted and which names there are, keeps the newest report, and can go away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.report = HostReport(host="", workloads=())
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        streams = {"placements": WANTED, "names": Names(hosts={"x.org": "240.0.0.9"})}
        found = next((value for name, value in streams.items() if name in target), None)
        if found is not None:  # and no more, until it goes away
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + msgspec.json.encode(found) + b"\n")
            return
        body = b""
        if method == "PUT":
            length = next(int(line.partition(":")[2]) for line in head.lower().splitlines() if "content-length" in line)
            self.report = msgspec.json.decode(await reader.readexactly(length), type=HostReport)
        else:
            body = held_set()
        status = "204 No Content" if method == "PUT" else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        writer.close()


async def until(what: str, look: Callable[[], Awaitable[object]]) -> None:
    with anyio.move_on_after(30):
        while not await look():  # noqa: ASYNC110 - no event
            await anyio.sleep(0.02)
        return
    raise AssertionError(what)


async def test_it_runs_what_control_wants_and_goes_on_without_resolver_and_without_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "HELD_SECONDS", 0.05)
    monkeypatch.setattr(agent, "AWAY_SECONDS", 0.05)
    settings = from_environ(
        environ(tmp_path) | {"WEFT_ENVOY": str(fake_envoy.program(tmp_path)), "WEFT_DRAIN_SECONDS": "0.1"}
    )
    address, paths = Address(path=str(settings.paths.agent_socket)), settings.paths
    control = FakeControl(paths.control_socket)

    async def rows() -> dict[str, dict[str, Any]]:
        try:
            found = json.loads((await unix_http.request(address, "GET", "/v1/processes")).body)["processes"]
        except unix_http.HttpError:
            return {}
        return {f"{row['kind']} {row['name']}": row for row in found}

    async def order(target: str) -> int:
        return (await unix_http.request(address, "POST", target)).status

    async with anyio.create_task_group() as group:
        group.start_soon(agent.run, settings)
        await until("it answers", rows)
        await control.start()

        async def serves() -> bool:
            return (await rows()).get("app a", {}).get("state") == "serving"

        async def reported() -> bool:
            states = {(one.name, port.state.value) for one in control.report.workloads for port in one.ports}
            return ("a", "serving") in states

        await until("it serves", serves)
        await until("control hears of it", reported)
        assert {one.placement.value for one in control.report.workloads} >= {"sidecar", "gateway"}

        async def kept() -> bool:
            return (paths.held / "sidecar.default.a.bin").exists()

        await until("what the proxy holds is kept", kept)
        entered = json.loads((await unix_http.request(address, "GET", "/v1/processes/a/enter")).body)
        assert entered["environment"]["WEFT_WORKLOAD"] == "default/a"

        if "resolver resolver" in await rows():  # where namespaces can be made
            assert entered["namespaces"]
            for end in (lambda pid: os.kill(pid, signal.SIGKILL), None):
                pid = (await rows())["resolver resolver"]["pid"]
                if end:
                    end(pid)
                else:
                    assert await order("/v1/processes/resolver/restart") == 200

                async def another(pid: int = pid) -> bool:
                    return (await rows())["resolver resolver"]["pid"] not in (0, pid)

                await until("another resolver", another)

        await control.stop()

        async def falls_back() -> bool:
            return paths.fallback_socket.exists()

        await until("the fallback serves", falls_back)
        assert (await rows())["app a"]["state"] == "serving"
        await control.start()

        async def no_fallback() -> bool:
            return not (paths.records / "fallback.service.json").exists()

        await until("the fallback ends when control is back", no_fallback)
        assert await order("/v1/processes/a/restart") == 200
        await until("it serves again", serves)
        assert await order("/v1/processes/edge/restart") == 200
        assert await order("/v1/processes/a/stop") == 200
        assert (await rows())["app a"]["state"] == "stopped"
        assert await order("/v1/processes/a/start") == 200
        await until("it serves again", serves)
        assert await order("/v1/stop") == 202
    await control.stop()
    assert not list(paths.records.iterdir())
