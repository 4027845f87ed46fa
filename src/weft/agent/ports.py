"""Choosing ports, so that nobody else has to."""

from __future__ import annotations

import errno
import socket
from typing import Final
from zlib import crc32

RANGE: Final = range(21000, 31000)
"""Below the ports that Linux gives to outgoing connections (from 32768), which could take one at any time."""

PRIVILEGED_OFFSET: Final = 8000
"""What is added to a port below 1024 that this user may not bind: 80 becomes 8080, as with Istio's gateways."""

TRIES: Final = 100


def bindable(address: str, port: int) -> int:
    """0 if the port can be bound now, else the error number."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno or errno.EIO
    return 0


class Ports:
    """The loopback ports that this agent has given out and has not got back.

    ``owner`` says where to begin: a port is free until an application listens on it, so two agents of one machine that
    began alike would give out the same ones.
    """

    def __init__(self, owner: str) -> None:
        self._taken: set[int] = set()
        self._next = RANGE.start + crc32(owner.encode()) % len(RANGE)

    def take(self) -> int:
        """A free port of loopback. Raises ``OSError`` if none is."""
        start = self._next - RANGE.start
        for step in range(len(RANGE)):
            port = RANGE.start + (start + step) % len(RANGE)
            if port not in self._taken and bindable("127.0.0.1", port) == 0:
                self._next = port + 1
                self._taken.add(port)
                return port
        raise OSError(errno.EADDRINUSE, "no free port")

    def keep(self, port: int) -> None:
        """This port is in use by a process that was adopted."""
        self._taken.add(port)

    def give_back(self, port: int) -> None:
        self._taken.discard(port)


def gateway_port(address: str, wanted: int, taken: frozenset[int]) -> int:
    """Where a gateway's port can be bound: itself, plus 8000 if it is privileged, else the next free one.

    Raises ``OSError`` if a hundred in a row are busy.
    """
    code = bindable(address, wanted)
    if code == 0 and wanted not in taken:
        return wanted
    start = wanted + PRIVILEGED_OFFSET if code in (errno.EACCES, errno.EPERM) else wanted + 1
    for port in range(start, min(start + TRIES, 65536)):
        if port not in taken and bindable(address, port) == 0:
            return port
    raise OSError(errno.EADDRINUSE, f"no free port near {wanted}")
