"""The agent as a whole, in process; with proxies and control: tests/envoy/test_agent.py."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from tests.support import fake_envoy
from tests.support.little_authority import LittleAuthority
from tests.unit.agent.test_fallback import held_set
from weft import private
from weft.agent import agent, remote, unix_http
from weft.agent.control import Names
from weft.agent.settings import from_environ
from weft.identity.wire import HostTrust, SvidRequests
from weft.model.mesh import GatewaySpec, Placements, PortSpec, ProcessSpec
from weft.model.service import Address, HostReport, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
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
        self.authority = LittleAuthority(time.time)
        self.trust = HostTrust({})
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
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return  # the agent ended before it asked
        method, target, _ = head.split(" ", 2)
        streams: dict[str, object] = {"placements": WANTED, "names": Names(hosts={"x.org": "240.0.0.9"})}
        streams["trust"] = self.authority.line.value
        found = next((value for name, value in streams.items() if name in target), None)
        if found is not None and method == "GET":  # and no more, until it goes away
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + msgspec.json.encode(found) + b"\n")
            return
        body = held_set()
        if method != "GET":
            length = next(int(line.partition(":")[2]) for line in head.lower().splitlines() if "content-length" in line)
            body = self._told(target, await reader.readexactly(length))
        status = "204 No Content" if method == "PUT" else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        writer.close()

    def _told(self, target: str, body: bytes) -> bytes:
        if target.endswith("/svids"):
            return msgspec.json.encode(self.authority.sign(msgspec.json.decode(body, type=SvidRequests).requests))
        if target.endswith("/trust"):
            self.trust = msgspec.json.decode(body, type=HostTrust)
        else:
            self.report = msgspec.json.decode(body, type=HostReport)
        return b""


async def until(what: str, look: Callable[[], Awaitable[object]]) -> None:
    with anyio.move_on_after(30):
        while not await look():  # noqa: ASYNC110 - no event
            await anyio.sleep(0.02)
        return
    raise AssertionError(what)


class Whole:
    """An agent in this process with a control and an Envoy that are fakes, and what a test asks of it."""

    def __init__(self, tmp_path: Path) -> None:
        more = {"WEFT_ENVOY": str(fake_envoy.program(tmp_path)), "WEFT_DRAIN_SECONDS": "0.1"}
        self.settings = from_environ(environ(tmp_path) | more)
        self.paths = self.settings.paths
        self.control = FakeControl(self.paths.control_socket)
        self._address = Address(path=str(self.paths.agent_socket))

    async def ask(self, target: str) -> Any:  # noqa: ANN401 - JSON
        try:
            return json.loads((await unix_http.request(self._address, "GET", target)).body)
        except unix_http.HttpError:
            return {"processes": []}

    async def rows(self) -> dict[str, dict[str, Any]]:
        return {f"{row['kind']} {row['name']}": row for row in (await self.ask("/v1/processes"))["processes"]}

    async def order(self, target: str) -> int:
        return (await unix_http.request(self._address, "POST", target)).status

    async def serves(self) -> bool:
        return (await self.rows()).get("app a", {}).get("state") == "serving"

    async def reported(self) -> bool:
        states = {(one.name, port.state.value) for one in self.control.report.workloads for port in one.ports}
        return ("a", "serving") in states

    async def gone(self, path: Path) -> bool:
        return not await anyio.Path(path).exists()

    async def there(self, path: Path) -> bool:
        return await anyio.Path(path).exists()


@pytest.fixture
async def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Whole]:
    """It runs what control wants; when the test is over it is told to stop, and nothing of it stays."""
    monkeypatch.setattr(agent, "HELD_SECONDS", 0.05)
    monkeypatch.setattr(agent, "AWAY_SECONDS", 0.05)
    made = Whole(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(agent.run, made.settings)
        await until("it answers", made.rows)
        await made.control.start()
        await until("it serves", made.serves)
        yield made
        assert await made.order("/v1/stop") == 202
    await made.control.stop()
    assert not list(made.paths.records.iterdir())


async def test_it_reports_what_runs_and_keeps_what_proxies_hold(whole: Whole) -> None:
    await until("control hears of it", whole.reported)
    assert {one.placement.value for one in whole.control.report.workloads} >= {"sidecar", "gateway"}
    await until("it is kept", lambda: whole.there(whole.paths.held / "sidecar.default.a.bin"))

    async def trusted() -> bool:
        return "host/here" in whole.control.trust.proxies

    await until("control hears what the agent itself holds", trusted)
    asked = {request.node for request in whole.control.authority.signed}
    assert asked >= {"host/here", "sidecar/default/a", "gateway/default/edge"}
    entered = await whole.ask("/v1/processes/a/enter")
    assert entered["environment"]["WEFT_WORKLOAD"] == "default/a"


async def test_a_resolver_that_was_killed_or_restarted_is_followed_by_another(whole: Whole) -> None:
    if "resolver resolver" not in await whole.rows():
        pytest.skip("this machine does not allow namespaces")
    for killed in (True, False):
        pid = (await whole.rows())["resolver resolver"]["pid"]
        if killed:
            os.kill(pid, signal.SIGKILL)
        else:
            assert await whole.order("/v1/processes/resolver/restart") == 200

        async def another(pid: int = pid) -> bool:
            return (await whole.rows())["resolver resolver"]["pid"] not in (0, pid)

        await until("another resolver", another)


async def test_the_fallback_serves_while_control_is_away_and_only_then(whole: Whole) -> None:
    await whole.control.stop()
    await until("the fallback serves", lambda: whole.there(whole.paths.fallback_socket))
    assert await whole.serves()
    await whole.control.start()
    await until("it ends when control is back", lambda: whole.gone(whole.paths.records / "fallback.service.json"))


async def test_orders_by_hand_reach_applications_and_gateways(whole: Whole) -> None:
    assert await whole.order("/v1/processes/a/restart") == 200
    await until("it serves again", whole.serves)
    assert await whole.order("/v1/processes/edge/restart") == 200
    assert await whole.order("/v1/processes/a/stop") == 200
    assert (await whole.rows())["app a"]["state"] == "stopped"
    assert await whole.order("/v1/processes/a/start") == 200
    await until("it serves again", whole.serves)


async def test_a_joined_host_knows_where_control_is_and_who_it_must_be(tmp_path: Path) -> None:
    there = environ(tmp_path) | {"WEFT_CONTROL_ADDRESS": "10.0.0.1:15012", "WEFT_ADDRESS": "10.0.0.2"}
    settings = from_environ(there)
    assert agent.joined(from_environ(environ(tmp_path))) is None
    with pytest.raises(agent.CannotRunError, match="WFT-1860"):
        agent.joined(settings)
    settings.paths.host_identity.mkdir(parents=True)
    private.replace(settings.paths.joined, remote.encode(remote.Joined("other", "10.0.0.1:15012", "10.0.0.2", "local")))
    with pytest.raises(agent.CannotRunError, match="WFT-1860"):
        agent.joined(settings)
    private.replace(settings.paths.joined, remote.encode(remote.Joined("here", "10.0.0.1:15012", "10.0.0.2", "local")))
    found = agent.joined(settings)
    assert found is not None
    assert (found.door, found.trust_domain) == (Address(ip="10.0.0.1", port=15012), "local")


async def test_sidecars_of_a_joined_host_reach_control_by_the_host_proxy_and_the_host_proxy_by_itself(
    tmp_path: Path,
) -> None:
    settings = from_environ(environ(tmp_path))
    render = agent.renderer(settings, remote.Remote(Address(ip="10.0.0.1", port=15012), tmp_path, "local"))
    door = str(settings.paths.door_socket)
    sidecar, host_proxy = (json.loads(render(node)) for node in ("sidecar/a/b", "egress/weft-system/here"))
    assert door in json.dumps(sidecar["static_resources"]["clusters"])
    assert "listeners" not in sidecar["static_resources"]
    assert '"10.0.0.1"' in json.dumps(host_proxy["static_resources"]["clusters"])
    assert door in json.dumps(host_proxy["static_resources"]["listeners"])
    alone = json.loads(agent.renderer(settings)("egress/weft-system/here"))
    assert "10.0.0.1" not in json.dumps(alone)
