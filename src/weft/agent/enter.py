"""The helper process that makes or joins an application's network namespace, and then becomes the application.

It is a program of its own (``python -m weft.agent.enter``) because the kernel lets only a process with a single thread
join a user namespace, and because what it does to itself cannot be undone. Standard library only: it runs once per
started process and must not cost what importing costs.

Standard input is one JSON object, ``{"join": [fd, ...], "create": bool, "dns": {...}, "argv": [...]}``, all but one of
its keys optional:

- ``create``: make a new network namespace (and, unless root, a user namespace that maps the caller to itself), set it
  up to capture, and send descriptors of both namespaces over descriptor ``report``;
- ``join``: enter the namespaces of these descriptors, the user namespace first;
- ``dns``: open the sockets of the resolver in the namespace and hand them to ``socket`` under ``label``;
- ``argv``, ``env``, ``directory``: become this program. Its standard input is /dev/null;
- ``user``: as this uid and gid, without any other group;
- ``detach``: let a grandchild of the caller become it, and write its number to descriptor ``report``. Envoy asks the
  kernel for SIGTERM when its parent dies, so that of an Envoy which shall outlive the agent must have died before.

Failures are written to descriptor ``errors`` as ``<errno> <what>``; it closes by itself when the program starts.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any, Final

from weft.agent import netlink

CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
OUTBOUND_PORT: Final = 15001
DNS_PORT: Final = 15053


def _libc(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), name)


def create() -> list[int]:
    """Enter new namespaces that capture; descriptors to join them by, the user namespace (if any) first."""
    user, group = os.geteuid(), os.getegid()
    _libc("unshare", CLONE_NEWNET | (CLONE_NEWUSER if user else 0))
    if user:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    netlink.capture(OUTBOUND_PORT, DNS_PORT)
    kinds = ("user", "net") if user else ("net",)
    return [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds]


def join(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        _libc("setns", descriptor, 0)


def give_dns(path: str, label: dict[str, str]) -> None:
    """Bind the resolver's two sockets here and hand them over; waits for its word that it has them."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as streams,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as resolver,
    ):
        streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Replies must come from this address: it is where the kernel redirected the questions to.
        datagrams.bind(("127.0.0.1", DNS_PORT))
        streams.bind(("127.0.0.1", DNS_PORT))
        streams.listen(64)
        resolver.settimeout(5)
        resolver.connect(path)
        request = json.dumps({"add": label}).encode()
        socket.send_fds(resolver, [request], [datagrams.fileno(), streams.fileno()])
        if not resolver.recv(4096):
            raise OSError(0, "the resolver refused the sockets")


def detach(report: int) -> None:
    """Go on in a child that has no parent but init, and leads a session of its own."""
    waiting, until_parent_ends = os.pipe()
    pid = os.fork()
    if pid:
        os.write(report, str(pid).encode())
        os._exit(0)
    os.close(until_parent_ends)
    os.close(report)
    os.read(waiting, 1)
    os.close(waiting)
    os.setsid()


def become(argv: list[str], environment: dict[str, str], directory: str, user: list[int] | None = None) -> None:
    if user:
        os.setgroups([])
        os.setresgid(user[1], user[1], user[1])
        os.setresuid(user[0], user[0], user[0])
    if directory:
        os.chdir(directory)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.execvpe(argv[0], argv, environment)  # noqa: S606 - running the user's command is what this program is for


def serve(order: dict[str, Any]) -> None:
    if order.get("create"):
        with socket.socket(fileno=os.dup(order["report"])) as report:
            socket.send_fds(report, [b"n"], create())
    if descriptors := order.get("join"):
        join(descriptors)
    if dns := order.get("dns"):
        give_dns(dns["socket"], dns["label"])
    if order.get("detach"):
        detach(order["report"])
    if argv := order.get("argv"):
        become(argv, order["env"], order.get("directory", ""), order.get("user"))


def main() -> int:
    order = json.loads(sys.stdin.buffer.read())
    errors = order["errors"]
    os.set_inheritable(errors, False)
    for descriptor in order.get("join", ()):
        os.set_inheritable(descriptor, False)
    try:
        serve(order)
    except OSError as error:
        what = error.filename or error.strerror or "failed"
        os.write(errors, f"{error.errno or 5} {what if isinstance(what, str) else os.fsdecode(what)}".encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
