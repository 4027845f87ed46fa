"""Log files of processes that the agent does not stand between: they append, and the agent keeps the files small."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

LAST_BYTES: Final = 16 * 1024
_CONTROL: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def rotate(path: Path, limit_bytes: int) -> bool:
    """Move the last ``limit_bytes`` to ``<name>.1`` when there are more. The file stays the same file.

    Whoever has it open for appending goes on writing to it, so nobody has to be told; what is written between the copy
    and the cut is lost, which is the price of that. On a full disk the older lines go, not the newer ones.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size <= limit_bytes:
                return False
            at = size - limit_bytes
            with contextlib.suppress(OSError), path.with_name(path.name + ".1").open("wb") as older:
                while at < size and (copied := os.sendfile(older.fileno(), file.fileno(), at, size - at)):
                    at += copied
        os.truncate(path, 0)
    except FileNotFoundError:
        return False
    return True


def last_lines(path: Path, count: int) -> tuple[str, ...]:
    """The last lines of a log, without what could steer a terminal; nothing if there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - LAST_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    return tuple(_CONTROL.sub("", line) for line in text.splitlines()[-count:])


def start_of_last(path: Path, count: int) -> int:
    """The offset at which the last ``count`` lines begin; 0 if there are fewer, or no file."""
    try:
        with path.open("rb") as file:
            at = file.seek(0, os.SEEK_END)
            found = 0
            while at > 0:
                size = min(LAST_BYTES, at)
                file.seek(at - size)
                block = file.read(size)
                end = len(block) - 1 if found == 0 and block.endswith(b"\n") else len(block)
                while (cut := block.rfind(b"\n", 0, end)) >= 0:
                    found += 1
                    if found == count:
                        return at - size + cut + 1
                    end = cut
                at -= size
    except FileNotFoundError:
        pass
    return 0
