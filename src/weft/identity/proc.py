"""What /proc says of one process, as far as attestation needs it. Everything here may be another process's by the next line:
only ``attest`` makes a fact of it, by looking at the start time before and after.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

EXECUTABLE_LIMIT: Final = 1024 * 1024 * 1024
"""Bytes; a larger executable has no hash, so that no selector by hash matches it."""

TEXT_LIMIT: Final = 128 * 1024
HASHES: Final = 256
TICK_SECONDS: Final = 2.0
"""Two changes that are closer may have one time: file systems count in ticks of milliseconds, the coarsest of two seconds."""
DEPTH: Final = 256
"""Ancestors that are looked at."""

_TAKES_ARGUMENT: Final = {
    "python": frozenset("cmWX"),
    "ruby": frozenset("eIrC"),
    "node": frozenset("epr"),
    "bash": frozenset("coO"),
    "sh": frozenset("co"),
    "perl": frozenset("eEI"),
}
"""Of each interpreter the short options that take an argument, or that mean that no script follows."""
_NO_SCRIPT: Final = {
    "python": frozenset("cm"),
    "ruby": frozenset("e"),
    "node": frozenset("ep"),
    "bash": frozenset("cs"),
    "sh": frozenset("cs"),
    "perl": frozenset("eE"),
}
_NODE_ARGUMENT: Final = frozenset({"--require", "--import", "--loader", "--experimental-loader"})


def text(pid: int, name: str) -> str:
    """A file of a process, empty when there is none or we may not read it."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:  # noqa: PTH123 - a file that is not on a disk
            return os.fsdecode(file.read(TEXT_LIMIT))
    except OSError:
        return ""


def stat(pid: int) -> tuple[str, ...]:
    """The fields of /proc/PID/stat from the third on (state, parent, group, session, ...); none when it has gone."""
    found = text(pid, "stat")
    return tuple(found[found.rindex(")") + 2 :].split()) if ")" in found else ()


def started(pid: int) -> int:
    """When it began, in clock ticks since boot; 0 when it has gone, also for one that waits to be reaped."""
    fields = stat(pid)
    return int(fields[19]) if fields and fields[0] not in ("Z", "X") else 0


def parent(pid: int) -> int:
    fields = stat(pid)
    return int(fields[1]) if fields else 0


def session(pid: int) -> int:
    fields = stat(pid)
    return int(fields[3]) if fields else 0


def ancestry(pid: int) -> tuple[tuple[int, int], ...]:
    """(number, start) of the process and of each one above it. A parent's number is its own for as long as it has children."""
    found: list[tuple[int, int]] = []
    while pid > 0 and len(found) < DEPTH:
        begun = started(pid)
        if not begun:
            break
        found.append((pid, begun))
        pid = parent(pid)
    return tuple(found)


def network(pid: int) -> int:
    """The inode of its network namespace; 0 when we may not look."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino  # noqa: PTH116 - of a file that is not on a disk
    except OSError:
        return 0


def program(pid: int) -> tuple[int, int]:
    """The file that it runs, by device and inode; zeros when we may not know."""
    try:
        found = os.stat(f"/proc/{pid}/exe")  # noqa: PTH116 - of a file that is not on a disk
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def executable(pid: int) -> str:
    """The path of the program that it runs; empty when we may not know, the file was deleted, or it is another file where we
    look. Anybody may mount what he likes, where he likes, for his own processes alone: the path by itself means nothing.
    """
    try:
        path = os.readlink(f"/proc/{pid}/exe")  # noqa: PTH115 - of a file that is not on a disk
        here = os.stat(path)  # noqa: PTH116 - beside the one above
    except OSError:
        return ""
    return path if (here.st_dev, here.st_ino) == program(pid) else ""


def cgroup(pid: int) -> str:
    """Its path in the one hierarchy of cgroups v2, such as ``/system.slice/pay.service``."""
    lines = (line.partition("::") for line in text(pid, "cgroup").splitlines())
    return next((path for number, sign, path in lines if sign and number == "0"), "")


def script(pid: int) -> str:
    """The script that an interpreter runs, absolute; empty for other programs. The process chose its own arguments, so
    this holds together with who runs it, never alone.
    """
    try:
        directory = os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115 - of a file that is not on a disk
    except OSError:
        return ""
    found = script_of(executable(pid), text(pid, "cmdline").split("\0"))
    return os.path.normpath(os.path.join(directory, found)) if found else ""  # noqa: PTH118 - nothing is resolved


def script_of(program: str, arguments: Sequence[str]) -> str:
    """As the program was called: ``/usr/bin/python3.11``, ``python3 -u app.py --fast`` gives ``app.py``."""
    name = PurePosixPath(program).name.rstrip("0123456789.")
    rest = [argument for argument in arguments[1:] if argument]
    if name == "java":
        return _jar(rest)
    if name not in _TAKES_ARGUMENT:
        return ""
    while rest:
        word = rest.pop(0)
        if word == "--":
            return rest[0] if rest else ""
        if not word.startswith("-") or word == "-":
            return "" if word == "-" else word
        if word.startswith("--"):
            if word in _NODE_ARGUMENT and rest:
                rest.pop(0)
            continue
        letters = word[1:]
        for at, letter in enumerate(letters):
            if letter in _NO_SCRIPT[name]:
                return ""
            if letter in _TAKES_ARGUMENT[name]:
                if at == len(letters) - 1 and rest:
                    rest.pop(0)
                break
    return ""


def _jar(words: Sequence[str]) -> str:
    for at, word in enumerate(words):
        if word == "-jar" and at + 1 < len(words):
            return words[at + 1]
        if not word.startswith("-"):
            break
    return ""


class Hashes:
    """SHA-256 of executables, each read once for as long as it is the same file, by device, inode, size and times."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], str] = {}

    def of(self, pid: int) -> str:
        """Of what the process runs, read through its own link to it; empty when that cannot be read."""
        try:
            with open(f"/proc/{pid}/exe", "rb", buffering=0) as file:  # noqa: PTH123 - as above
                found = os.fstat(file.fileno())
                if found.st_size > EXECUTABLE_LIMIT:
                    return ""
                key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                if (known := self._known.get(key)) is not None:
                    return known
                made = hashlib.file_digest(file, "sha256").hexdigest()
                # A file that was changed just now may be changed once more without any of its times telling.
                if abs(time.time() - found.st_ctime) > TICK_SECONDS:
                    if len(self._known) >= HASHES:
                        self._known.clear()
                    self._known[key] = made
                return made
        except OSError:
            return ""
