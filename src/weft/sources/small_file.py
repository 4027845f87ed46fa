"""One value in one file of mode 0600: read whole when a control plane starts, replaced whole by every change.

A file that cannot be read is never taken for an empty one: what it said about who may do what must not be forgotten.
Blocking: call from a worker thread.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

import msgspec

from weft.errors import Problem
from weft.sources.lock import UnusableError, unwritable
from weft.values import Origin

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


def read(path: Path, kind: type[T], default: T) -> T:
    """The value, ``default`` when there is no file. Raises ``UnusableError`` (WFT-1504, WFT-1513, WFT-1882)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return default
    except OSError as error:
        raise UnusableError(unwritable(path, error)) from error
    with os.fdopen(descriptor, "rb") as file:
        mode, data = os.fstat(descriptor).st_mode, file.read()
    if mode & 0o077:
        message = f"mode {mode & 0o777:o} lets others read or write the file"
        raise UnusableError(_problem("WFT-1513", message, f"See that nobody changed it, then: chmod 600 {path}", path))
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"the file cannot be read: {error}"
        remedy = "Restore it from a backup, or move it away to begin without what it said"
        raise UnusableError(_problem("WFT-1882", message, remedy, path)) from error


def write(path: Path, value: object) -> None:
    """Replace the file; the new one is on the disk when this returns. Raises ``UnusableError`` (WFT-1504)."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise UnusableError(unwritable(path, error)) from error


def _problem(code: str, message: str, remedy: str, path: Path) -> Problem:
    return Problem(code=code, message=message, remedy=remedy, origin=Origin(str(path)))
