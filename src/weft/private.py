"""Files, sockets and locks that nobody but their owner can reach: mode 0600 from their first moment on, and whole. And who it is
that reaches a socket.

Everything here raises ``OSError`` and blocks; what is said to a user about it is for the caller to say.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

BACKLOG: Final = 256

_CREDENTIALS: Final = struct.Struct("=iII")
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class ExposedError(OSError):
    """The file does not keep what is in it private. The text says what it is, as in ``mode 0644 of user 1000``."""

    def __init__(self, found: os.stat_result) -> None:
        mode = f"mode {stat.S_IMODE(found.st_mode):04o} of user {found.st_uid}"
        super().__init__(mode if stat.S_ISREG(found.st_mode) else f"a special file, {mode},")


class HeldError(OSError):
    """Another process has the lock; ``holder`` is its pid, empty when it could not write it down."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"process {holder} holds it" if holder else "another process holds it")
        self.holder = holder


def create(path: Path, data: bytes) -> None:
    """A new file, on the disk when this returns. Raises ``FileExistsError`` rather than touch another, or a link."""
    _write(path, data, lasting=True)
    sync_directory(path.parent)


def replace(path: Path, data: bytes, *, lasting: bool = True) -> None:
    """A new file in the place of the one that may be there. Whoever is killed at any byte leaves the old one or the new one.

    It is written beside itself and renamed, so one writer at a time. ``lasting``: it is on the disk when this returns;
    without, a power cut may bring the old one back.
    """
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)  # of one who was killed
    _write(aside, data, lasting=lasting)
    try:
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    if lasting:
        sync_directory(path.parent)


def read(path: Path, limit_bytes: int) -> bytes:
    """At most one byte more than the limit, so that the caller sees what is too long. A link is not followed and a pipe not
    waited for. Raises ``ExposedError`` for a file of another user, and for one that others can read, write or run.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise ExposedError(found)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit_bytes + 1)
    finally:
        os.close(descriptor)


def listen(path: Path, mode: int = 0o600, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A listening unix socket in the place of the one that may be there. Nobody whom ``mode`` keeps out could ever connect."""
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, kind)
    try:
        made.bind(os.fspath(aside))
        aside.chmod(mode)
        made.listen(BACKLOG)
        aside.replace(path)
    except OSError:
        made.close()
        aside.unlink(missing_ok=True)
        raise
    return made


class Peer(NamedTuple):
    """Who connected to a unix socket. ``pid`` is 0 for a process of another PID namespace."""

    pid: int
    uid: int
    gid: int


def peer(connected: socket.socket) -> Peer:
    """As the kernel noted it at connect(2). Source: unix(7), SO_PEERCRED."""
    return Peer(*_CREDENTIALS.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)))


def hold(path: Path) -> int:
    """A lock that the kernel gives back when its holder dies, in any way: an open file descriptor, to be closed when done.

    Raises ``HeldError`` when another process has it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise HeldError(holder) from error
    except OSError:
        os.close(descriptor)
        raise
    with suppress(OSError):  # a full disk: the lock holds without a number in it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def sync_directory(directory: Path) -> None:
    """Make names in a directory last."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes, *, lasting: bool) -> None:
    descriptor = os.open(path, _NEW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
