"""One control plane for each data directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft import private
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
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return private.hold(directory / "lock")
    except private.HeldError as error:
        raise UnusableError(_held(directory, error.holder)) from error
    except OSError as error:
        raise UnusableError(unwritable(directory, error)) from error


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
