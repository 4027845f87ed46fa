"""Is an application ready? It listens (tcp), it answers (http), or it says so (grpc)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from weft.agent import processes, unix_http
from weft.model.service import Address, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weft.model.mesh import HealthCheck

LISTEN: Final = "0A"
FAILURES: Final = 3
"""Failed checks in a row before a serving port is called failing."""

FIRST_INTERVAL_SECONDS: Final = 0.05
"""While an application starts, it is looked at this often: nobody should wait for a timer."""


def listening(table: str, port: int) -> frozenset[str]:
    """The inodes of the sockets that listen on ``port`` in the text of /proc/PID/net/tcp or tcp6."""
    wanted = f":{port:04X}"
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == LISTEN and fields[1].endswith(wanted):
            found.add(fields[9])
    return frozenset(found)


def sockets_of(pids: Iterable[int]) -> frozenset[str]:
    """The inodes of all sockets that these processes have open."""
    found = set()
    for pid in pids:
        try:
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                target = str(descriptor.readlink())
                if target.startswith("socket:["):
                    found.add(target[8:-1])
        except OSError:
            continue
    return frozenset(found)


def listens(pid: int, port: int, *, own_network: bool) -> bool:
    """Does the application led by ``pid`` listen on ``port``?

    In a network of its own whoever listens is the application. In the host's the socket must belong to one of its
    processes: somebody else's server on that port is not it.
    """
    found: frozenset[str] = frozenset()
    for name in ("tcp", "tcp6"):
        try:
            table = Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii")
        except OSError:
            continue
        found |= listening(table, port)
    if not found or own_network:
        return bool(found)
    return bool(found & sockets_of(processes.members(pid)))


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
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            answer = await check(asked, timeout=timeout_seconds)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer == b"\x08\x01")


async def check(health: HealthCheck, pid: int, listen: Address, application: Address, *, own_network: bool) -> bool:
    """One check of one port. A port must be listened on before anything is asked of it.

    http and grpc ask by the proxy's inbound socket where the application's network is its own, else directly.
    """
    if not pid or not await anyio.to_thread.run_sync(lambda: listens(pid, application.port, own_network=own_network)):
        return False
    if health.kind == "tcp":
        return True
    address = listen if own_network else application
    if health.kind == "http":
        return await http_ok(address, health.path, health.timeout_seconds)
    service = "" if health.path == "/" else health.path.strip("/")
    return await grpc_ok(address, service, health.timeout_seconds)


class Gate:
    """The state of one port as its checks go: it serves after one success and fails after three failures in a row."""

    def __init__(self, state: State = State.STARTING) -> None:
        self.state = state
        self._failures = 0

    def saw(self, ok: bool) -> State:  # noqa: FBT001 - the one thing there is to say
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
