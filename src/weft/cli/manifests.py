"""The manifests that ``-f`` names, as (place, bytes). What they mean is the server's and ``weft check``'s to say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from weft.cli.client import Failed
from weft.errors import Problem
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SUFFIXES: Final = (".yaml", ".yml", ".json")


def sources(files: Iterable[str]) -> list[tuple[str, bytes]]:
    """Everything that the arguments name, folders sorted. Raises ``Failed`` with every file that cannot be read."""
    found: list[tuple[str, bytes]] = []
    problems: list[Problem] = []
    for name in files:
        if name == "-":
            found.append(("stdin", sys.stdin.buffer.read()))
            continue
        try:
            found.extend((str(path), path.read_bytes()) for path in expand(Path(name)))
        except OSError as error:
            problems.append(
                Problem(
                    code="WFT-1009",
                    message=f"{error.filename or name} cannot be read: {error.strerror}",
                    remedy="Name a file or a folder that exists and that you may read, or - for stdin",
                    origin=Origin(name),
                )
            )
    if problems:
        raise Failed(*problems)
    return found


def expand(path: Path) -> Iterator[Path]:
    """A file itself; of a folder every manifest below it, hidden ones left out."""
    if not path.is_dir():
        yield path
        return
    for entry in sorted(path.rglob("*")):
        if entry.suffix in SUFFIXES and entry.is_file() and not any(part.startswith(".") for part in entry.parts):
            yield entry


class Joined(NamedTuple):
    """Several manifests as the one YAML stream that a request carries. ``starts``: (first line, place) of each."""

    body: bytes
    starts: tuple[tuple[int, str], ...]

    def place(self, origin: Origin) -> Origin:
        """Where a line of the stream stands in the user's files; an origin without a line is somebody else's."""
        if not origin.line:
            return origin
        first, source = next(start for start in reversed(self.starts) if start[0] <= origin.line)
        return Origin(source, origin.line - first + 1, origin.column)


def joined(files: Iterable[str]) -> Joined:
    """Everything that ``-f`` names as one stream. Raises ``Failed``."""
    body = bytearray()
    starts: list[tuple[int, str]] = []
    for source, data in sources(files):
        if body:
            body += b"---\n"
        starts.append((body.count(b"\n") + 1, source))
        body += data if data.endswith(b"\n") else data + b"\n"
    return Joined(bytes(body), tuple(starts) or ((1, "nothing"),))
