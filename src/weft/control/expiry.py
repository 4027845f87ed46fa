"""Policies that end by themselves: ``weft.dev/expires`` says when, and then the policy is deleted, as a change like any other.

What has expired is not taken in again, by file or by API (``admitted``). What has expired while control was away is deleted
before anything is compiled. While control is away proxies keep what they have, so that a policy ends late then, and never
early (docs/guides/policy.md).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio
import msgspec

from weft.api.labels import EXPIRES, ends
from weft.errors import Problem
from weft.sources.records import Record, Verb, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from weft.api.document import Document
    from weft.sources.store import Store
    from weft.sources.writes import Check

KIND: Final = "AuthorizationPolicy"
OWNER: Final = "weft-expiry"
LOOK_SECONDS: Final = 10.0
"""How long it sleeps at most: a laptop that slept, or a clock that was set, changes what is due."""
_log = logging.getLogger(__name__)


async def follow(store: Store, now: Callable[[], datetime]) -> None:
    """Delete what is due, whenever it is, until cancelled."""
    while True:
        latest = store.publisher.latest
        serial = latest.serial
        await sweep(store, now)
        due = [(end - now()).total_seconds() for _, end in expiring(store.records)]
        wait = min([LOOK_SECONDS, *due])
        with anyio.move_on_after(max(wait, 0.01)):
            await latest.newer_than(serial)


async def sweep(store: Store, now: Callable[[], datetime]) -> None:
    """Delete what is due. What the disk refuses is tried again."""
    for record, end in expiring(store.records):
        if end > now():
            continue
        outcome = await store.delete(Writer(OWNER, f"weft: it expired at {end.isoformat()}"), record.ref)
        if outcome.verb is not Verb.DELETED:
            for problem in outcome.problems:
                _log.error("%s", problem)


def admitted(check: Check, now: Callable[[], datetime]) -> Check:
    """What a store checks documents by: a policy that has ended is not taken in again, whoever writes it. It would come back with
    every change of its file, and be deleted again.
    """

    def checked(document: Document) -> tuple[Problem, ...]:
        end = ends(document.data)
        return (*check(document), *(() if end is None or end > now() else (_ended(document, end),)))

    return checked


def _ended(document: Document, end: datetime) -> Problem:
    field = f'metadata.annotations["{EXPIRES}"]'
    return Problem(
        code="WFT-1431",
        message=f"the policy ended at {end.isoformat()} and holds no more",
        remedy="Take it out of the file, or give it a later end",
        origin=document.place(field),
        ref=document.ref,
        field=field,
    )


def expiring(records: Iterable[Record]) -> list[tuple[Record, datetime]]:
    """Every policy that says when it ends."""
    found = []
    for record in records:
        # A look at the bytes first: there may be thousands of objects, and hardly one of them ends.
        if record.ref.kind != KIND or EXPIRES.encode() not in record.document:
            continue
        end = ends(msgspec.json.decode(record.document))
        if end is not None:
            found.append((record, end))
    return found
