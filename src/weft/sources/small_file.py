"""One value in one file of mode 0600: read whole when a control plane starts, replaced whole by every change.

A file that cannot be read is never taken for an empty one: what it said about who may do what must not be forgotten.
Blocking: call from a worker thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from weft import private
from weft.errors import Problem
from weft.sources.lock import UnusableError, unwritable
from weft.values import Origin

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

MAX_BYTES: Final = 64 * 1024 * 1024


def read(path: Path, kind: type[T], default: T) -> T:
    """The value, ``default`` when there is no file. Raises ``UnusableError`` (WFT-1504, WFT-1513, WFT-1882)."""
    try:
        data = private.read(path, MAX_BYTES)
    except FileNotFoundError:
        return default
    except private.ExposedError as error:
        message = f"{error} does not keep the file private"
        remedy = f"See that nobody changed it and that it is yours, then: chmod 600 {path}"
        raise UnusableError(_problem("WFT-1513", message, remedy, path)) from error
    except OSError as error:
        raise UnusableError(unwritable(path, error)) from error
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"the file cannot be read: {error}"
        remedy = "Restore it from a backup, or move it away to begin without what it said"
        raise UnusableError(_problem("WFT-1882", message, remedy, path)) from error


def write(path: Path, value: object) -> None:
    """Replace the file; the new one is on the disk when this returns. Raises ``UnusableError`` (WFT-1504)."""
    try:
        private.replace(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")
    except OSError as error:
        raise UnusableError(unwritable(path, error)) from error


def _problem(code: str, message: str, remedy: str, path: Path) -> Problem:
    return Problem(code=code, message=message, remedy=remedy, origin=Origin(str(path)))
