"""A cell that holds the newest value: many writers, waiting readers, and never a backlog.

This is how weft coalesces without a timer: whoever is slow finds one merged state when it comes back, not a queue.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Latest(Generic[T]):
    """The newest value and its serial number (from 0, rising by one with each ``set``)."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._serial = 0
        self._changed = anyio.Event()

    @property
    def value(self) -> T:
        return self._value

    @property
    def serial(self) -> int:
        return self._serial

    def set(self, value: T) -> None:
        """Replace the value and wake every reader. A value that was not read is overwritten, not queued."""
        self._value = value
        self._serial += 1
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def newer_than(self, serial: int) -> tuple[int, T]:
        """Wait until the serial number exceeds ``serial``; returns at once when it already does."""
        while self._serial <= serial:
            await self._changed.wait()
        return self._serial, self._value
