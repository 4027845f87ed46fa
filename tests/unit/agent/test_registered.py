"""A workload that something else runs: it is reported while it serves, and is nothing of ours to start or end."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import anyio
import msgspec
import pytest

from tests.unit.agent.test_edge import with_envoy
from weft.agent.registered import Registered, load_registered
from weft.model.mesh import Attest, HealthCheck, PortSpec, ProcessSpec
from weft.model.service import Capture, Protocol, State

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def spec(port: int, health: HealthCheck | None = None) -> ProcessSpec:
    return ProcessSpec(
        namespace="shop",
        name="ledger-v1-0",
        service="ledger",
        version="v1",
        command=(),
        service_account="ledger",
        attest=Attest(uid="990"),
        ports=(PortSpec(port, "tcp" if health is None else "http", Protocol.TCP if health is None else Protocol.HTTP),),
        health=health or HealthCheck(),
    )


class Changes:
    count = 0

    def __call__(self) -> None:
        self.count += 1


def made(spec: ProcessSpec, tmp_path: Path) -> tuple[Registered, Changes]:
    changes = Changes()
    return Registered(spec, dataclasses.replace(with_envoy(tmp_path), changed=changes)), changes


async def answering(status: int) -> tuple[asyncio.Server, int]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    return server, int(server.sockets[0].getsockname()[1])


async def test_it_is_reported_with_its_identity_as_it_serves_and_fails(tmp_path: Path) -> None:
    server, port = await answering(200)
    unit, changes = made(spec(port), tmp_path)
    assert (unit.key, unit.node) == ("shop/ledger-v1-0", "sidecar/shop/ledger-v1-0")
    await unit.look()
    report = unit.report()
    assert (report.capture, report.service_account, report.host) == (Capture.NONE, "ledger", "here")
    assert (report.captured, report.proxied) == (False, True)
    assert [(one.number, one.application.port, one.state) for one in report.ports] == [(port, port, State.SERVING)]
    assert report.ports[0].listen.path.endswith(f"in-{port}.sock")
    assert [(row.kind, row.state) for row in unit.rows()] == [("app", "serving"), ("proxy", "starting")]
    assert changes.count == 1
    server.close()
    await server.wait_closed()
    for _ in range(3):
        await unit.look()
    assert unit.rows()[0].state == "failing"


def test_without_ports_it_has_no_proxy(tmp_path: Path) -> None:
    unit, _ = made(msgspec.structs.replace(spec(7), ports=()), tmp_path)
    assert (unit.proxy, unit.children(), unit.report().proxied) == (None, (), False)
    assert [row.kind for row in unit.rows()] == ["app"]


@pytest.mark.parametrize(
    ("kind", "status", "state"), [("http", 200, "serving"), ("http", 500, "starting"), ("grpc", 200, "starting")]
)
async def test_its_health_is_asked_where_it_listens(kind: str, status: int, state: str, tmp_path: Path) -> None:
    server, port = await answering(status)
    check = HealthCheck(kind=kind, path="/ok" if kind == "http" else "", timeout_seconds=2)
    unit, _ = made(spec(port, check), tmp_path)
    await unit.look()
    assert unit.rows()[0].state == state
    server.close()
    await server.wait_closed()


async def test_it_runs_with_its_proxy_until_it_is_wanted_no_more(tmp_path: Path) -> None:
    server, port = await answering(200)
    unit, _ = made(msgspec.structs.replace(spec(port), health=HealthCheck(interval_seconds=0.01)), tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(unit.run)
        with anyio.fail_after(20):
            while [row.state for row in unit.rows()] != ["serving", "running"]:  # noqa: ASYNC110 - no event
                await anyio.sleep(0.01)
        records = tmp_path / "agent" / "records"
        assert load_registered(records) == (unit.spec,)
        await unit.stop(drain=True)
    assert unit.ports()[0].state is State.DRAINING
    assert not list(records.iterdir())
    server.close()
    await server.wait_closed()


def test_damaged_records_are_removed(tmp_path: Path) -> None:
    (tmp_path / "a.registered.json").write_bytes(b"{")
    assert load_registered(tmp_path) == ()
    assert not list(tmp_path.iterdir())
