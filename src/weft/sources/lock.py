"""One control plane for each data directory: a lock that the kernel gives back when its holder dies, in any way."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from weft.errors import Problem
from weft.values import Origin

if TYPE_CHECKING:
    from pathlib import Path


class UnusableError(Exception):
    """The data directory cannot be used; ``problem`` says why and what to do."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def lock(directory: Path) -> int:
    """Hold ``directory`` for this process: an open file descriptor, to be closed when done.

    Creates the directory with mode 0700. Raises ``UnusableError`` when another process holds it (WFT-1503), or when it
    cannot be written (WFT-1504).
    """
    path = directory / "lock"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UnusableError(unwritable(directory, error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise UnusableError(_held(directory, holder)) from error
    _say_who(descriptor)
    return descriptor


def _say_who(descriptor: int) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        return  # a full disk: the lock holds without a number in it


def unwritable(path: Path, error: Exception) -> Problem:
    return Problem(
        code="WFT-1504",
        message=f"the store cannot be written: {error}",
        remedy="Make room on the file system, or correct the permissions; nothing that was committed is lost",
        origin=Origin(str(path)),
    )


def _held(directory: Path, holder: str) -> Problem:
    who = f"process {holder}" if holder else "another process"
    return Problem(
        code="WFT-1503",
        message=f"{who} already runs a control plane on this data directory",
        remedy="Use that one, stop it first, or give this one its own directory with WEFT_STATE_DIR",
        origin=Origin(str(directory)),
    )
