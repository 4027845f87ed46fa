"""The newest ``World``, put together from what the sources hand in, and the word that all of them have been read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.latest import Latest
from weft.sources.records import Record, World

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weft.model.service import HostReport
    from weft.model.trust import KeySet, Trust


class Publisher:
    """Where sources hand in and the control loop waits: ``latest.newer_than(serial)``."""

    def __init__(self, expected: Iterable[str] = ()) -> None:
        self._waiting = set(expected)
        self.latest: Latest[World] = Latest(World(synced=not self._waiting))

    @property
    def waiting(self) -> tuple[str, ...]:
        """The sources that have not been read once."""
        return tuple(sorted(self._waiting))

    def expect(self, source: str) -> None:
        """Not synced before ``read(source)``. Call it before the first source is read."""
        self._waiting.add(source)
        self._set(synced=False)

    def read(self, source: str) -> None:
        """``source`` has been read whole, with or without problems."""
        self._waiting.discard(source)
        self._set(synced=not self._waiting)

    def records(self, records: tuple[Record, ...], revision: int) -> None:
        self._set(records=records, revision=revision)

    def hosts(self, hosts: tuple[HostReport, ...]) -> None:
        self._set(hosts=hosts)

    def trust(self, trust: Trust) -> None:
        self._set(trust=trust)

    def keys(self, keys: tuple[KeySet, ...]) -> None:
        self._set(keys=keys)

    def _set(self, **fields: object) -> None:
        world = msgspec.structs.replace(self.latest.value, **fields)
        if world != self.latest.value:
            self.latest.set(world)
