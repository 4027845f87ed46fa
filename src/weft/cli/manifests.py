"""The manifests that ``-f`` names, as (place, bytes). What they mean is the server's and ``weft check``'s to say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weft.cli.client import Failed
from weft.errors import Problem
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from weft.cli.client import Client, Json

BUNDLE: Final = "application/vnd.weft.manifests+json"
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


def send(client: Client, path: str, query: Mapping[str, str], files: Iterable[tuple[str, bytes]]) -> Json:
    """Send manifests, each with its place, so that a problem found later still names the file; the answer."""
    parts = [{"source": source, "text": data.decode(errors="surrogateescape")} for source, data in files]
    return client.json("POST", path, query, {"manifests": parts}, BUNDLE)
