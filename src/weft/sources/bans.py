"""Identities that are banned: no SVID for them, and every proxy denies them, until somebody lifts the ban.

Kept in ``bans.json`` of the state directory, apart from the authority's keys and from objects, so that neither a rollback
nor a rotation lifts one.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final

import anyio
import msgspec
from anyio import to_thread

from weft.latest import Latest
from weft.sources import small_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from pathlib import Path

FILE: Final = "bans.json"
MAX_BANS: Final = 1_000
"""Every proxy holds them all, in every listener."""


class Ban(msgspec.Struct, frozen=True):
    """``time`` is RFC 3339, UTC; ``by`` banned it."""

    spiffe_id: str
    reason: str
    by: str
    time: str


class Bans:
    """``latest`` holds them sorted by SPIFFE ID."""

    def __init__(self, path: Path, now: Callable[[], datetime], found: tuple[Ban, ...]) -> None:
        self._path, self._now = path, now
        self._writing = anyio.Lock()
        self.latest: Final[Latest[tuple[Ban, ...]]] = Latest(found)

    @classmethod
    async def open(cls, state: Path, now: Callable[[], datetime]) -> Bans:
        """Raises ``UnusableError`` when the file cannot be read (``sources.small_file``)."""
        path = state / FILE
        return cls(path, now, await to_thread.run_sync(small_file.read, path, tuple[Ban, ...], ()))

    @property
    def identities(self) -> tuple[str, ...]:
        return tuple(ban.spiffe_id for ban in self.latest.value)

    def room(self, more: int) -> bool:
        return len(self.latest.value) + more <= MAX_BANS

    async def add(self, identities: Iterable[str], reason: str, by: str) -> tuple[str, ...]:
        """Ban; the ones that were not banned before. Raises ``UnusableError`` (WFT-1504)."""
        async with self._writing:
            known = {ban.spiffe_id: ban for ban in self.latest.value}
            time = self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            fresh = {each: Ban(each, reason, by, time) for each in identities if each not in known}
            await self._keep(known | fresh)
            return tuple(sorted(fresh))

    async def remove(self, identities: Iterable[str]) -> tuple[str, ...]:
        """Lift; the ones that were banned. Raises ``UnusableError`` (WFT-1504)."""
        async with self._writing:
            known = {ban.spiffe_id: ban for ban in self.latest.value}
            gone = tuple(sorted(set(identities) & known.keys()))
            await self._keep({name: ban for name, ban in known.items() if name not in gone})
            return gone

    async def _keep(self, bans: dict[str, Ban]) -> None:
        kept = tuple(bans[name] for name in sorted(bans))
        if kept == self.latest.value:
            return
        await to_thread.run_sync(small_file.write, self._path, kept)
        self.latest.set(kept)
