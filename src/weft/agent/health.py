"""Is an application ready? It listens (tcp), it answers (http), or it says so (grpc)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from weft.agent import unix_http
from weft.model.service import Protocol, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.agent.listening import Watch
    from weft.model.mesh import HealthCheck
    from weft.model.service import Address, WorkloadPort

FAILURES: Final = 3
"""Failed checks in a row before a serving port is called failing."""

FIRST_INTERVAL_SECONDS: Final = 0.05
"""While an application starts, it is looked at this often: nobody should wait for a timer."""


async def http_ok(address: Address, path: str, timeout_seconds: float) -> bool:
    """200 to 399 within the timeout."""
    try:
        answer = await unix_http.request(address, "GET", path, timeout_seconds=timeout_seconds)
    except unix_http.HttpError:
        return False
    return 200 <= answer.status < 400


async def grpc_ok(address: Address, service: str, timeout_seconds: float) -> bool:
    """SERVING, from the standard health service. Source: grpc.health.v1, whose two messages are one field each."""
    import grpc  # noqa: PLC0415 - only who checks by gRPC pays for it
    import grpc.aio  # noqa: PLC0415 - as above

    target = f"unix:{address.path}" if address.path else f"{address.ip}:{address.port}"
    name = service.encode()
    asked = b"\x0a" + bytes([len(name)]) + name if name else b""
    async with grpc.aio.insecure_channel(target, options=(("grpc.default_authority", "localhost"),)) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", bytes, bytes)
        try:
            answer = await check(asked, timeout=timeout_seconds)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer == b"\x08\x01")


class Checker:
    """The checks of one application. ``own_network``: it lives in a network namespace of its own. ``watches`` are those
    of its ports.
    """

    def __init__(self, health: HealthCheck, watches: Mapping[int, Watch], *, own_network: bool) -> None:
        self._health = health
        self._own_network = own_network
        self._watches = watches

    async def check(self, pid: int, port: WorkloadPort, ports: tuple[WorkloadPort, ...]) -> bool:
        """One check of one port: it is listened on, and the workload as a whole is healthy.

        http and grpc ask by the proxy's inbound socket where the application's network is its own, else directly.
        """
        if not pid:
            return False
        if port.protocol is not Protocol.UDP:
            listens = self._watches[port.number].look(pid, port.application.port, time.monotonic())
            if not listens:
                return False
        health = self._health
        asked = asked_port(health, ports)
        if health.kind == "tcp" or asked is None:
            return True
        address = asked.listen if self._own_network else asked.application
        if health.kind == "http":
            return await http_ok(address, health.path, health.timeout_seconds)
        return await grpc_ok(address, health.path.strip("/"), health.timeout_seconds)


def asked_port(health: HealthCheck, ports: tuple[WorkloadPort, ...]) -> WorkloadPort | None:
    """The port that http and grpc checks go to: the one that is named, else the first one that speaks HTTP."""
    for port in ports:
        if health.port and health.port in (port.number, port.name, str(port.number)):
            return port
        if not health.port and port.protocol.is_http:
            return port
    return None


class Gate:
    """The state of one port as its checks go: it serves after one success and fails after three failures in a row."""

    def __init__(self, state: State = State.STARTING) -> None:
        self.state = state
        self._failures = 0

    def saw(self, ok: bool) -> State:
        if ok:
            self._failures = 0
            self.state = State.SERVING
        else:
            self._failures += 1
            if self.state is State.SERVING and self._failures >= FAILURES:
                self.state = State.FAILING
        return self.state

    def ended(self) -> State:
        """The application's process has ended: nothing may be sent to it, however well it answered before."""
        self._failures = 0
        self.state = State.STARTING
        return self.state
