"""Who listens where: does an application listen on its port, at an address where its proxy calls it?

The kernel's table of sockets says so, but reading it walks every connection of the machine (4 to 25 ms, measured). So it is
read when an application opens or closes sockets and else once a second; a socket once found is looked at by itself.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from weft.agent import processes

if TYPE_CHECKING:
    from collections.abc import Iterable

LISTEN: Final = "0A"
REACHED: Final = frozenset({"127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"})  # noqa: S104 - compared with
"""What an application may listen on to be found at 127.0.0.1, where its proxy calls it."""

FRESH_SECONDS: Final = 0.3
"""So long after a socket was opened it may still be on its way to listening."""

READ_SECONDS: Final = 1.0


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


def family(pid: int) -> tuple[int, ...]:
    """A process and its descendants, as far as they still are children of one another."""
    found = [pid]
    for each in found:
        for path in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += [int(number) for number in path.read_text(encoding="ascii").split()]
            except OSError:
                continue
    return tuple(found)


class Watch:
    """One port of one application. ``own_network``: whoever listens there is the application. Else the socket must
    belong to one of its processes: somebody else's server on that port is not it.

    ``elsewhere`` is what to say of an application that listens where its proxy does not call it.
    """

    def __init__(self, *, own_network: bool) -> None:
        self._own_network = own_network
        self._holder = 0
        self._inode = ""
        self._sockets: frozenset[str] = frozenset()
        self._changed = self._read = float("-inf")
        self.elsewhere = ""

    def look(self, pid: int, port: int, now: float) -> bool:
        """Whether the application led by ``pid`` listens on ``port``. ``now`` is in seconds of a monotonic clock."""
        if self._holder and self._inode in sockets_of((self._holder,)):
            return True
        self._holder = 0
        sockets = sockets_of(family(pid))
        if sockets != self._sockets:
            self._sockets, self._changed = sockets, now
        if now - self._changed > FRESH_SECONDS and now - self._read < READ_SECONDS:
            return False
        self._read = now
        found = listeners(pid, port)
        reached = frozenset(one.inode for one in found if one.address in REACHED)
        self.elsewhere = _elsewhere(found, port) if found and not reached else ""
        return bool(reached) and (self._find(pid, reached) or self._own_network)

    def _find(self, pid: int, inodes: frozenset[str]) -> bool:
        """Remember which of the application's processes has one of these sockets; whether one has."""
        for each in (*family(pid), *processes.members(pid)):
            if mine := inodes & sockets_of((each,)):
                self._holder, self._inode = each, min(mine)
                return True
        return False


def _elsewhere(found: tuple[Listener, ...], port: int) -> str:
    at = ", ".join(sorted({f"[{one.address}]" if ":" in one.address else one.address for one in found}))
    return f"it listens on {at} only; its proxy calls 127.0.0.1:{port}, so let it listen there or on 0.0.0.0"
