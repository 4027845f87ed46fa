"""What a new agent must know of what runs: one small JSON file for each thing (``weft.paths.Paths.records``).

Processes do not outlive their machine, so a record is whole at any moment and waits for no disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from weft import private

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


def save(path: Path, record: object) -> None:
    private.replace(path, msgspec.json.encode(record), lasting=False)


def load(path: Path, kind: type[T]) -> T | None:
    """None when there is none, or it is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None


def load_all(directory: Path, ending: str, kind: type[T]) -> tuple[T, ...]:
    """Every record whose file ends so, by name; damaged ones are removed."""
    found = []
    for path in sorted(directory.glob(f"*{ending}")):
        record = load(path, kind)
        if record is None:
            path.unlink(missing_ok=True)
        else:
            found.append(record)
    return tuple(found)
