"""Large requests take turns, so that whoever sends them has a share of this process and not all of it.

A request of megabytes takes tens of milliseconds to read, and nothing else runs meanwhile. Proxies send such when they come
back and say what they hold; somebody hostile sends nothing else. Between two of them, whosesoever they are, there is three
times as long for everybody else as one has taken. What waits is bounded; whoever finds it full comes back a moment later, as
proxies do.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

OTHERS: Final = 3.0
"""For each second that large requests take, so many for everything else."""


LONGEST: Final = 1.0
"""Seconds for everything else, at most: a process that is stopped meanwhile (SIGSTOP, a debugger) worked no longer for that."""


class CrowdedError(Exception):
    """So much waits already that nothing more is kept."""


class Turns:
    """One for all streams. ``clock`` gives seconds; ``waiting_bytes`` bounds the requests that wait for their turn."""

    def __init__(self, clock: Callable[[], float], waiting_bytes: int) -> None:
        self._clock = clock
        self._most = waiting_bytes
        self._waiting = 0
        self._turn = anyio.Lock()

    @asynccontextmanager
    async def turn(self, size: int) -> AsyncIterator[None]:
        """Wait for it with a request of so many bytes. Raises ``CrowdedError``."""
        if self._waiting and self._waiting + size > self._most:
            raise CrowdedError
        self._waiting += size
        try:
            async with self._turn:
                begun = self._clock()
                try:
                    yield
                finally:
                    # Whoever was served waits for the others' share, too: its next request is not read meanwhile.
                    await anyio.sleep(min(OTHERS * (self._clock() - begun), LONGEST))
        finally:
            self._waiting -= size
