"""A workload that something else runs: it is reported while it serves, and is nothing of ours to start or end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import msgspec
import pytest

from weft.agent.registered import Registered
from weft.model.mesh import Attest, HealthCheck, PortSpec, ProcessSpec
from weft.model.service import Capture, Protocol, State

if TYPE_CHECKING:
    from weft.agent.machine import Machine

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class FakeSettings:
    host = "here"


class FakeMachine:
    settings = FakeSettings()

    def __init__(self) -> None:
        self.changes = 0

    def changed(self) -> None:
        self.changes += 1


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


def made(spec: ProcessSpec) -> tuple[Registered, FakeMachine]:
    machine = FakeMachine()
    found: Machine = machine  # type: ignore[assignment]  # as much of a machine as is needed
    return Registered(spec, found), machine


async def answering(status: int) -> tuple[asyncio.Server, int]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    return server, int(server.sockets[0].getsockname()[1])


async def test_it_is_reported_with_its_identity_as_it_serves_and_fails() -> None:
    server, port = await answering(200)
    unit, machine = made(spec(port))
    assert (unit.key, unit.node, unit.proxy, unit.children()) == (
        "shop/ledger-v1-0",
        "sidecar/shop/ledger-v1-0",
        None,
        (),
    )
    await unit.look()
    report = unit.report()
    assert (report.capture, report.service_account, report.host) == (Capture.NONE, "ledger", "here")
    assert [(one.number, one.listen.port, one.state) for one in report.ports] == [(port, port, State.SERVING)]
    assert unit.rows()[0].state == "serving"
    assert machine.changes == 1
    server.close()
    await server.wait_closed()
    for _ in range(3):
        await unit.look()
    assert unit.rows()[0].state == "failing"


@pytest.mark.parametrize(
    ("kind", "status", "state"), [("http", 200, "serving"), ("http", 500, "starting"), ("grpc", 200, "starting")]
)
async def test_its_health_is_asked_where_it_listens(kind: str, status: int, state: str) -> None:
    server, port = await answering(status)
    unit, _ = made(spec(port, HealthCheck(kind=kind, path="/ok" if kind == "http" else "", timeout_seconds=2)))
    await unit.look()
    assert unit.rows()[0].state == state
    server.close()


async def test_it_runs_until_it_is_wanted_no_more() -> None:
    server, port = await answering(200)
    unit, machine = made(msgspec.structs.replace(spec(port), health=HealthCheck(interval_seconds=0.01)))
    async with anyio.create_task_group() as group:
        group.start_soon(unit.run)
        with anyio.fail_after(20):
            while not machine.changes:  # noqa: ASYNC110 - no event
                await anyio.sleep(0.01)
        await unit.stop(drain=True)
    assert unit.ports()[0].state is State.DRAINING
    server.close()
