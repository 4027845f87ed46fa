"""Is an application ready? It listens (tcp), it answers (http), or it says so (grpc)."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from weft.agent import processes, unix_http
from weft.model.service import Protocol, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weft.model.mesh import HealthCheck
    from weft.model.service import Address, WorkloadPort

LISTEN: Final = "0A"
REACHED: Final = frozenset({"127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"})  # noqa: S104 - compared with
"""What an application may listen on to be found at 127.0.0.1, where its proxy calls it."""

FAILURES: Final = 3
"""Failed checks in a row before a serving port is called failing."""

FIRST_INTERVAL_SECONDS: Final = 0.05
"""While an application starts, it is looked at this often: nobody should wait for a timer."""


class Listener(msgspec.Struct, frozen=True, order=True):
    """A socket that listens: the address in words, and the number that says whose it is."""

    address: str
    inode: str


def listening(table: str, port: int) -> tuple[Listener, ...]:
    """The sockets that listen on ``port`` in the text of /proc/PID/net/tcp or tcp6."""
    wanted = f":{port:04X}"
    lines = (line.split() for line in table.splitlines()[1:])
    return tuple(
        Listener(_address(fields[1].partition(":")[0]), fields[9])
        for fields in lines
        if len(fields) > 9 and fields[3] == LISTEN and fields[1].endswith(wanted)
    )


def _address(text: str) -> str:
    """An address as the kernel writes it there: words of 32 bits, each in the machine's own byte order."""
    data = b"".join(struct.pack("=I", int(text[at : at + 8], 16)) for at in range(0, len(text), 8))
    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)


def listeners(pid: int, port: int) -> tuple[Listener, ...]:
    """The sockets that listen on ``port`` in the network of a process, whoever has them."""
    found: tuple[Listener, ...] = ()
    for name in ("tcp", "tcp6"):
        try:
            table = Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii")
        except OSError:
            continue
        found += listening(table, port)
    return found


def listening_inodes(pid: int, port: int) -> frozenset[str]:
    """The numbers of the sockets that listen on ``port`` in the network of a process, whoever has them."""
    return frozenset(one.inode for one in listeners(pid, port))


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
    """The checks of one application. ``own_network``: it lives in a network namespace of its own.

    ``confirmed`` remembers between checks which listening sockets are the application's.
    """

    def __init__(self, health: HealthCheck, confirmed: dict[int, frozenset[str]], *, own_network: bool) -> None:
        self._health = health
        self._own_network = own_network
        self._confirmed = confirmed

    def listens(self, pid: int, port: int) -> bool:
        """Does the application led by ``pid`` listen on ``port``?

        In a network of its own whoever listens is the application. In the host's the socket must belong to one of its
        processes: somebody else's server on that port is not it.
        """
        found = frozenset(one.inode for one in listeners(pid, port) if one.address in REACHED)
        if not found or self._own_network:
            return bool(found)
        # Whose a socket is does not change while it listens, and finding out means reading all of /proc.
        if self._confirmed.get(port) != found and found & sockets_of(processes.members(pid)):
            self._confirmed[port] = found
        return self._confirmed.get(port) == found

    def elsewhere(self, pid: int, port: int) -> str:
        """What to say of an application that listens where its proxy does not call; nothing for any other."""
        found = listeners(pid, port) if pid else ()
        if not found or any(one.address in REACHED for one in found):
            return ""
        at = ", ".join(sorted({f"[{one.address}]" if ":" in one.address else one.address for one in found}))
        return f"it listens on {at} only; its proxy calls 127.0.0.1:{port}, so let it listen there or on 0.0.0.0"

    async def check(self, pid: int, port: WorkloadPort, ports: tuple[WorkloadPort, ...]) -> bool:
        """One check of one port: it is listened on, and the workload as a whole is healthy.

        http and grpc ask by the proxy's inbound socket where the application's network is its own, else directly.
        """
        if not pid:
            return False
        if port.protocol is not Protocol.UDP and not self.listens(pid, port.application.port):
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
