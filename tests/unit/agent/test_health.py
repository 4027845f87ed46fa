"""Readiness."""

from __future__ import annotations

import os
import socket

import pytest

from weft.agent import health
from weft.model.mesh import HealthCheck
from weft.model.service import Address, Protocol, State, WorkloadPort

pytestmark = pytest.mark.anyio

TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2378 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1
   1: 0100007F:2378 0100007F:8000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def port_at(number: int, protocol: Protocol = Protocol.TCP, name: str = "") -> WorkloadPort:
    address = Address(ip="127.0.0.1", port=number)
    return WorkloadPort(number=number, name=name, protocol=protocol, listen=address, application=address)


def test_only_listening_sockets_on_the_port_count() -> None:
    assert health.listening(TABLE, 0x2378) == (health.Listener("127.0.0.1", "4711"),)
    assert health.listening(TABLE, 80) == ()


async def test_an_application_that_listens_where_its_proxy_does_not_call_is_not_ready_and_says_so() -> None:
    checker = health.Checker(HealthCheck(), {}, own_network=True)
    with socket.socket(socket.AF_INET6) as six, socket.socket() as four:
        four.bind(("127.0.0.2", 0))
        number = four.getsockname()[1]
        four.listen()
        assert not await checker.check(os.getpid(), port_at(number), ())
        assert checker.elsewhere(os.getpid(), number).startswith("it listens on 127.0.0.2 only")
        six.bind(("::1", number))
        six.listen()
        assert "on 127.0.0.2, [::1] only; its proxy calls 127.0.0.1:" in checker.elsewhere(os.getpid(), number)
        with socket.socket() as reached:
            reached.bind(("127.0.0.1", number))
            reached.listen()
            assert checker.elsewhere(os.getpid(), number) == ""
            assert await checker.check(os.getpid(), port_at(number), ())
    assert checker.elsewhere(0, number) == ""


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


async def test_a_port_that_somebody_else_listens_on_is_not_the_applications() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = port_at(server.getsockname()[1])
        checker = health.Checker(HealthCheck(), {}, own_network=False)
        leader = os.getsid(0)
        assert not await checker.check(leader, port, (port,))
        server.listen()
        shared = health.Checker(HealthCheck(), {}, own_network=True)
        assert await shared.check(os.getpid(), port, (port,))
        assert not await checker.check(1, port, (port,))
        assert not await checker.check(0, port, (port,))
        inode = str(os.fstat(server.fileno()).st_ino)
        assert inode in health.sockets_of((os.getpid(), 2**22 + 1))


async def test_grpc_health_of_an_absent_server_is_no_health() -> None:
    assert not await health.grpc_ok(Address(ip="127.0.0.1", port=1), "shop", 0.5)
    assert not await health.http_ok(Address(ip="127.0.0.1", port=1), "/", 0.5)
