"""The files under the audit log: JSON lines, each with the hash of the line before it, so that one that is gone shows.

``audit-000000000001.jsonl`` holds the entries from number 1 on; when it is full the next one begins, and its first entry
names the last line of the file before. The oldest files go when there are too many; the chain then begins later, and
``verify`` says where. The chain has no key: it shows what was edited or cut out, and cannot stop the owner of the files
from writing all of it anew (docs/decisions/0083-the-audit-log.md).

Blocking: call from a worker thread, one call at a time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from weft.private import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

GENESIS: Final = "0" * 64
"""What the very first entry names as the hash of the line before it."""

FILE_BYTES: Final = 8 * 1024 * 1024
FILES: Final = 32
"""Together 256 MiB at most. Refusals are limited in their rate (``sources.audit``), so that nobody can push entries out."""

MAX_LINE: Final = 64 * 1024


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. ``kind`` and ``outcome`` as ``sources.audit`` spells them; ``time`` is RFC 3339, UTC, microseconds.

    ``who`` did or asked ``what``; ``where`` is from where. ``times`` counts equal entries of the same moment.
    """

    number: int
    time: str
    kind: str
    who: str
    what: str
    outcome: str
    previous: str
    where: str = ""
    detail: Mapping[str, str] = {}
    times: int = 1


class Verified(msgspec.Struct, frozen=True):
    """What a look at every line found: how many, from which number to which, and the first thing that is wrong."""

    entries: int
    first: int
    last: int
    problem: str = ""
    place: str = ""


class AuditFile:
    """The newest file, open for appending. ``number`` and ``hash`` are those of its last line."""

    def __init__(self, directory: Path, *, file_bytes: int = FILE_BYTES, files: int = FILES) -> None:
        """Raises ``OSError`` when the directory or the newest file cannot be used."""
        self.directory = directory
        self._file_bytes, self._files = file_bytes, files
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.number, self.hash, self.revision, self.torn = 0, GENESIS, 0, False
        found = listed(directory)
        path = found[-1] if found else _path(directory, 1)
        self._descriptor = _open(path)
        self._size = os.fstat(self._descriptor).st_size
        for each in reversed(found):
            self._read_end(each)
            if self.number and self.revision:
                break
        self._cut_torn_line()

    def _read_end(self, path: Path) -> None:
        """Where the chain ends, unless a newer file said so: the newest may have been begun and no more."""
        number, last = 0, GENESIS
        for line in _whole_lines(path):
            entry = msgspec.json.decode(line, type=Entry)
            number, last = entry.number, digest(line)
            self.revision = max(self.revision, _revision(entry))
        if not self.number:
            self.number, self.hash = number, last

    def _cut_torn_line(self) -> None:
        """A line without its end was never answered for: the process died in it. Only that may be taken away."""
        if not self._size:
            return
        tail = os.pread(self._descriptor, MAX_LINE, max(0, self._size - MAX_LINE))
        torn = len(tail) - (tail.rfind(b"\n") + 1)
        if torn:
            self._size -= torn
            os.ftruncate(self._descriptor, self._size)
            self.torn = True

    def close(self) -> None:
        os.close(self._descriptor)

    def append(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """Number, chain and write entries, and have them on the disk. Raises ``OSError``; then nothing was written."""
        if self._size >= self._file_bytes:
            self._rotate()
        number, last, lines, made = self.number, self.hash, [], []
        revision = self.revision
        for entry in entries:
            number += 1
            made.append(msgspec.structs.replace(entry, number=number, previous=last))
            line = msgspec.json.encode(made[-1])
            last = digest(line)
            lines.append(line + b"\n")
            revision = max(revision, _revision(entry))
        data = b"".join(lines)
        try:
            if os.write(self._descriptor, data) != len(data):
                raise OSError(28, "no space for a whole entry")
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)
        self.number, self.hash, self.revision = number, last, revision
        return tuple(made)

    def _rotate(self) -> None:
        path = _path(self.directory, self.number + 1)
        descriptor = _open(path)
        os.close(self._descriptor)
        self._descriptor, self._size = descriptor, 0
        sync_directory(self.directory)
        for old in listed(self.directory)[: -self._files]:
            old.unlink(missing_ok=True)


def listed(directory: Path) -> list[Path]:
    """The log's files, oldest first."""
    return sorted(directory.glob("audit-*.jsonl"))


def entries(directory: Path, *, after: int = 0) -> Iterator[Entry]:
    """Every entry with a number above ``after``, oldest first; a line that cannot be read is left out (``verify`` names it)."""
    found = listed(directory)
    begin = 0
    for index, path in enumerate(found):
        if _first(path) <= after + 1:
            begin = index
    for path in found[begin:]:
        for line in _whole_lines(path):
            try:
                entry = msgspec.json.decode(line, type=Entry)
            except msgspec.DecodeError:
                continue
            if entry.number > after:
                yield entry


def verify(directory: Path, number: int | None = None, expected: str = "") -> Verified:
    """Look at every line. ``number`` and ``expected`` are the last entry that is known to have been written, and its hash:
    a log that ends before it, or says something else there, was cut or written anew.
    """
    count, first, last, before = 0, 0, 0, ""
    problem, place = "", ""
    for path in listed(directory):
        for row, line in enumerate(_whole_lines(path), 1):
            at = f"{path.name}:{row}"
            try:
                entry = msgspec.json.decode(line, type=Entry)
            except msgspec.DecodeError:
                return Verified(count, first, last, "the line is not an entry", at)
            if not first:
                first, before = entry.number, entry.previous
                if first == 1 and before != GENESIS:
                    return Verified(count, first, last, "the first entry does not begin the chain", at)
            elif entry.number != last + 1:
                return Verified(count, first, last, f"entry {entry.number} follows entry {last}", at)
            if row == 1 and entry.number != _first(path):
                return Verified(count, first, last, f"the file begins with entry {entry.number}", at)
            if entry.previous != before:
                return Verified(count, first, last, "the line before it is not the one that was there", at)
            count, last, before = count + 1, entry.number, digest(line)
            if last == number and before != expected:
                return Verified(count, first, last, "the last entry is not the one that was written", at)
    if number is not None and last < number:
        problem, place = f"entries {last + 1} to {number} are gone", str(directory)
    return Verified(count, first, last, problem, place)


def digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _revision(entry: Entry) -> int:
    """The store's revision that a change has, so that a control plane that starts knows where to go on."""
    said = entry.detail.get("revision", "")
    return int(said) if said.isascii() and said.isdigit() else 0


def _path(directory: Path, number: int) -> Path:
    return directory / f"audit-{number:012}.jsonl"


def _first(path: Path) -> int:
    digits = path.stem.removeprefix("audit-")
    return int(digits) if digits.isascii() and digits.isdigit() else 0


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _whole_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line[:-1]
    except FileNotFoundError:
        return  # the oldest one, which went meanwhile
