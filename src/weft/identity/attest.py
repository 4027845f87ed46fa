"""Who is at the other end of a unix socket, by the kernel's word alone.

The kernel notes at connect(2) who connects: process, uid and gid. A number alone may be another process's by now, so the
process is held by a descriptor (SO_PEERPIDFD from Linux 6.5 on, which is that of the one that connected), and its start time is
read before and after everything else. What a process says of itself (its environment, its arguments) is no fact here, with one
exception that is called so: the script of an interpreter.

Source: unix(7), pidfd_open(2), proc(5). docs/concepts/attestation.md says what this is good for, and what not.
"""

from __future__ import annotations

import grp
import os
import pwd
import select
import socket
from typing import TYPE_CHECKING, Final

import msgspec

from weft import private
from weft.identity import proc

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from weft.identity.proc import Hashes
    from weft.model.mesh import Attest

SO_PEERPIDFD: Final = 77
"""Of asm-generic/socket.h, which Python 3.11 has no name for."""


class AttestError(Exception):
    """Who asks cannot be found out; the text says why."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One process, as it was between two looks at its start time. What we may not read is empty, and matches nothing.

    ``ancestry`` is (number, start) of the process itself and of all above it; ``leader`` the start of the process that leads its
    session, 0 when that has ended; ``network`` the inode of its network namespace.
    """

    pid: int
    started: int
    uid: int
    gid: int
    exe: str = ""
    sha256: str = ""
    script: str = ""
    cgroup: str = ""
    session: int = 0
    leader: int = 0
    network: int = 0
    ancestry: tuple[tuple[int, int], ...] = ()


class Caller:
    """The process that connected, held for as long as this is not closed. ``uid`` and ``gid`` are those of its connect."""

    def __init__(self, pid: int, uid: int, gid: int, descriptor: int, started: Callable[[int], int]) -> None:
        self.pid = pid
        self.uid = uid
        self.gid = gid
        self._descriptor = descriptor
        self._read_start = started
        self.started = started(pid)
        if not self.lives():
            self.close()
            raise AttestError(f"process {pid} has ended")

    def lives(self) -> bool:
        """Whether the number is still this process's."""
        watcher = select.poll()
        watcher.register(self._descriptor, select.POLLIN)
        return self.started != 0 and not watcher.poll(0) and self._read_start(self.pid) == self.started

    def facts(self, hashes: Hashes | None = None) -> Facts:
        """Everything about it now (it may have become another program since it connected). Without ``hashes`` its executable
        is not read. Raises ``AttestError``.
        """
        pid = self.pid
        session, program = proc.session(pid), proc.program(pid)
        found = Facts(
            pid=pid,
            started=self.started,
            uid=self.uid,
            gid=self.gid,
            exe=proc.executable(pid),
            sha256=hashes.of(pid) if hashes else "",
            script=proc.script(pid),
            cgroup=proc.cgroup(pid),
            session=session,
            leader=proc.started(session) if session else 0,
            network=proc.network(pid),
            ancestry=proc.ancestry(pid),
        )
        # The same program before and after: it may not borrow a hash by becoming another one in between.
        if proc.program(pid) != program or proc.ancestry(pid) != found.ancestry or not self.lives():
            raise AttestError(f"process {pid} changed while it was looked at")
        return found

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: TracebackType | type[BaseException] | BaseException | None) -> None:
        self.close()


def caller(raw: socket.socket, started: Callable[[int], int] = proc.started) -> Caller:
    """Who connected. Raises ``AttestError``: it has ended, or lives where we cannot see it."""
    pid, uid, gid = private.peer(raw)
    if pid <= 0:
        raise AttestError("it is not of our PID namespace")
    return Caller(pid, uid, gid, _hold(raw, pid), started)


def _hold(raw: socket.socket, pid: int) -> int:
    try:
        return int(raw.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD))
    except ProcessLookupError as error:
        raise AttestError(f"process {pid} has ended") from error
    except OSError:  # an older kernel: whoever has the number now, who must then prove to be as old as the connection
        return _open(pid)


def _open(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise AttestError(f"process {pid} has ended") from error


def descends(facts: Facts, pid: int, started: int) -> bool:
    """Whether it is this very process, was started by it, or is of the session that it leads. Nobody enters either from
    outside; a daemon that has left its parent is still found by its session.

    A number is not given to another process while a session has it; after that it is, and then its leader is a younger one.
    """
    return (pid, started) in facts.ancestry or (facts.session == pid and facts.leader in (0, started))


def matches(wanted: Attest, facts: Facts) -> bool:
    """Whether all selectors hold that are given. None given: nothing is said, and so nothing holds."""
    below = f"{wanted.cgroup}/"
    checks = (
        (wanted.uid, _number(wanted.uid, _user) == facts.uid),
        (wanted.gid, _number(wanted.gid, _group) == facts.gid),
        (wanted.exe, wanted.exe == facts.exe),
        (wanted.sha256, wanted.sha256.lower() == facts.sha256),
        (wanted.script, wanted.script == facts.script),
        (wanted.cgroup, facts.cgroup == wanted.cgroup or facts.cgroup.startswith(below)),
    )
    given = [holds for text, holds in checks if text]
    return bool(given) and all(given)


def _number(text: str, look: Callable[[str], int]) -> int:
    """A uid or gid, by number or by name; -1, which nobody has, for a name that is not known here."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return look(text)
    except KeyError:
        return -1


def _user(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _group(name: str) -> int:
    return grp.getgrnam(name).gr_gid
