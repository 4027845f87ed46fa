"""Readiness."""

from __future__ import annotations

import os
import socket

import pytest

from weft.agent import health
from weft.agent.listening import Watch
from weft.model.mesh import HealthCheck
from weft.model.service import Address, Protocol, State, WorkloadPort

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def port_at(number: int, protocol: Protocol = Protocol.TCP, name: str = "") -> WorkloadPort:
    address = Address(ip="127.0.0.1", port=number)
    return WorkloadPort(number=number, name=name, protocol=protocol, listen=address, application=address)


def test_a_gate_opens_with_one_success_and_closes_after_three_failures() -> None:
    gate = health.Gate()
    assert gate.saw(ok=False) is State.STARTING
    assert gate.saw(ok=True) is State.SERVING
    assert [gate.saw(ok=False) for _ in range(3)] == [State.SERVING, State.SERVING, State.FAILING]
    assert gate.saw(ok=True) is State.SERVING
    assert gate.ended() is State.STARTING


def test_the_port_that_is_asked_is_the_named_one_or_the_first_that_speaks_http() -> None:
    ports = (port_at(1), port_at(2, Protocol.HTTP, "web"), port_at(3, Protocol.HTTP, "admin"))
    assert health.asked_port(HealthCheck("http"), ports) == ports[1]
    assert health.asked_port(HealthCheck("http", port="admin"), ports) == ports[2]
    assert health.asked_port(HealthCheck("http", port=3), ports) == ports[2]
    assert health.asked_port(HealthCheck("http"), ports[:1]) is None


def watches(port: WorkloadPort, *, own_network: bool) -> dict[int, Watch]:
    return {port.number: Watch(own_network=own_network)}


async def test_a_port_that_is_not_listened_on_or_by_somebody_else_is_not_ready() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = port_at(server.getsockname()[1])
        for own_network in (False, True):
            checker = health.Checker(HealthCheck(), watches(port, own_network=own_network), own_network=own_network)
            assert not await checker.check(os.getpid(), port, (port,))
        server.listen()
        for own_network in (False, True):
            checker = health.Checker(HealthCheck(), watches(port, own_network=own_network), own_network=own_network)
            assert await checker.check(os.getpid(), port, (port,))
            assert not await checker.check(0, port, (port,))


async def test_grpc_health_of_an_absent_server_is_no_health() -> None:
    assert not await health.grpc_ok(Address(ip="127.0.0.1", port=1), "shop", 0.5)
    assert not await health.http_ok(Address(ip="127.0.0.1", port=1), "/", 0.5)
