"""Files that an earlier run was given and this one is not: what only they said goes away.

A control plane that is given no file at all goes on with what it has: nobody said what else there should be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weft.sources.records import Writer
from weft.sources.writes import managed_by

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weft.sources.files import FileSource
    from weft.sources.records import Record
    from weft.sources.store import Store

SOURCE: Final = "files of earlier runs"
"""By this name the publisher waits for ``withdraw``."""

_PREFIX: Final = "file:"


async def withdraw(store: Store, given: Iterable[FileSource]) -> None:
    """Call it once the given files have been read: what stands in one of them, too, stays without a gap."""
    current = {source.owner for source in given}
    if current:
        for owner in sorted(owners(store.records) - current):
            await store.apply(Writer(owner, f"file {owner.removeprefix(_PREFIX)}"), (), prune=True)
    if SOURCE in store.publisher.waiting:
        store.publisher.read(SOURCE)


def owners(records: Iterable[Record]) -> set[str]:
    """Every file that some object is in the store for."""
    return {
        entry.owner
        for record in records
        if b'"file:' in record.managed
        for entry in managed_by(record)
        if entry.operation == "Apply" and entry.owner.startswith(_PREFIX)
    }
