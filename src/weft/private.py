"""Files that nobody but their owner can read: mode 0600 from their first moment on, and whole.

Everything here raises ``OSError`` and blocks; what is said to a user about it is for the caller to say.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class ExposedError(OSError):
    """The file does not keep what is in it private. The text says what it is, as in ``mode 0644 of user 1000``."""

    def __init__(self, found: os.stat_result) -> None:
        mode = f"mode {stat.S_IMODE(found.st_mode):04o} of user {found.st_uid}"
        super().__init__(mode if stat.S_ISREG(found.st_mode) else f"a special file, {mode},")


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
