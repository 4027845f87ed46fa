"""Every change of an object goes into the audit log, whoever made it: the API, a file, or a task of our own.

The store is the truth, and each of its revisions is written down after it was committed. A control plane that starts goes on
after the newest revision that stands in the log, so that neither a crash nor a full disk leaves a change out; only changes that
the store itself has forgotten meanwhile are missing, and then an entry says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import msgspec

from weft.api.labels import REASON
from weft.errors import Problem
from weft.sources.audit import Audit, Kind, Outcome
from weft.sources.lock import UnusableError

if TYPE_CHECKING:
    from weft.sources.records import Change
    from weft.sources.store import Store

RETRY_SECONDS: Final = 2.0


async def follow(store: Store, audit: Audit) -> None:
    """Write down every change, until cancelled."""
    at = min(audit.revision, store.revision) if audit.revision else await _begin(store, audit)
    while True:
        found = await store.changes(at)
        if isinstance(found, Problem):
            what = f"changes up to revision {store.revision} are not known any more"
            await _insist(audit, Kind.OPERATION, "weft", what, revision=str(store.revision))
            at = store.revision
            continue
        async with anyio.create_task_group() as group:
            for change in found:
                group.start_soon(_write_down, audit, change)
        at = found[-1].revision if found else at


async def _begin(store: Store, audit: Audit) -> int:
    """A log without any change: it begins with what the store still knows."""
    if await store.knows(0):
        return 0
    what = f"the log begins at revision {store.revision}"
    await _insist(audit, Kind.OPERATION, "weft", what, revision=str(store.revision))
    return store.revision


async def _write_down(audit: Audit, change: Change) -> None:
    what = f"{change.verb.value} {change.record.ref.path}"
    reason = _reason(change)
    await _insist(
        audit,
        Kind.CHANGE,
        change.writer.who,
        what,
        owner=change.writer.owner,
        revision=str(change.revision),
        at=change.time,
        **({"reason": reason} if reason else {}),
    )


def _reason(change: Change) -> str:
    """What its writer gave as the reason; for a deletion it is that of what was deleted."""
    if REASON.encode() not in change.record.document:
        return ""
    annotations = msgspec.json.decode(change.record.document).get("metadata", {}).get("annotations") or {}
    return str(annotations.get(REASON, ""))


async def _insist(audit: Audit, kind: Kind, who: str, what: str, **detail: str) -> None:
    """Until it is written. The store keeps what waits, and the API refuses changes meanwhile."""
    while True:
        try:
            await audit.record(kind, who, what, Outcome.DONE, **detail)
        except UnusableError:
            await anyio.sleep(RETRY_SECONDS)
        else:
            return
