"""Watching objects: one JSON line for each event, from a revision on, until the client or the server has enough.

A watch without ``resourceVersion`` (or with 0) begins with an ADDED event for everything that stands. A status that
changes is an event too (MODIFIED, with an unchanged resourceVersion), because it is part of what is shown. Every minute
a BOOKMARK says how far the watch is, when ``allowWatchBookmarks`` asks for it. A client that does not read makes this
coroutine wait and nothing else: events are read from the store when there is room for them.

Source: Kubernetes API Concepts, "Efficient detection of changes".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
import msgspec
from starlette.responses import StreamingResponse

from weft.errors import Problem
from weft.sources.records import Change, Record, Verb
from weft.web import answers, selectors
from weft.web.answers import JSON, Refused
from weft.web.context import Context, flag, number

if TYPE_CHECKING:
    from starlette.requests import Request

BOOKMARK_SECONDS: Final = 60.0
MAX_SECONDS: Final = 3600
"""How long one watch lasts unless ``timeoutSeconds`` says less; a client then goes on with another."""

Show: TypeAlias = Callable[[Record, dict[str, Any] | None], dict[str, Any]]
"""An object and its status as the client sees it."""


class Selection(msgspec.Struct, frozen=True):
    """Which objects: of a kind, in a namespace (empty: all), with labels and fields that match."""

    group: str
    kind: str
    namespace: str
    labels: tuple[selectors.Requirement, ...]
    fields: tuple[selectors.Requirement, ...]

    def covers(self, record: Record) -> bool:
        """Kind, namespace and fields: what cannot change while an object lives."""
        ref = record.ref
        if ref.kind != self.kind or ref.group != self.group or self.namespace not in ("", ref.namespace):
            return False
        fields = {"metadata.name": ref.name, "metadata.namespace": ref.namespace}
        return all(requirement.holds(fields) for requirement in self.fields)

    def takes(self, record: Record) -> bool:
        if not self.covers(record):
            return False
        return not self.labels or selectors.matches(self.labels, msgspec.json.decode(record.document))


async def answer(request: Request, context: Context, selection: Selection, show: Show) -> StreamingResponse:
    """Refuses with 410 at once when the revision is not known any more."""
    since = number(request, "resourceVersion", 0)
    seconds = number(request, "timeoutSeconds", MAX_SECONDS)
    if since and not await context.store.knows(since):
        raise Refused(410, context.store.unknown(since))
    stream = _Watch(context, selection, show, bookmarks=flag(request, "allowWatchBookmarks"))
    return StreamingResponse(stream.lines(since, min(seconds, MAX_SECONDS)), media_type=JSON)


class _Watch:
    def __init__(self, context: Context, selection: Selection, show: Show, *, bookmarks: bool) -> None:
        self._context, self._selection, self._show = context, selection, show
        self._bookmarks = bookmarks
        self._statuses: dict[Any, Any] = {}

    async def lines(self, since: int, seconds: float) -> AsyncIterator[bytes]:
        context, at, deadline = self._context, since, anyio.current_time() + seconds
        serial = context.engine.settled().serial
        world = context.store.publisher.latest.value
        status = context.statuses.view()
        for record in world.records:
            if self._selection.takes(record):
                self._statuses[record.ref] = status(record.ref)
                if not since:
                    yield self._event("ADDED", record)
        at = since or world.revision
        while not context.closing.is_set() and anyio.current_time() < deadline:
            found = await self._wait(at, serial, min(deadline, anyio.current_time() + BOOKMARK_SECONDS))
            if isinstance(found, Problem):
                yield msgspec.json.encode({"type": "ERROR", "object": answers.status(410, (found,))}) + b"\n"
                return
            for change in found:
                if line := await self._changed(change):
                    yield line
                at = change.revision
            if context.engine.settled().serial != serial:
                serial = context.engine.settled().serial
                for record in self._with_new_status():
                    yield self._event("MODIFIED", record)
            elif not found and (line := self._bookmark(at)):
                yield line

    async def _wait(self, at: int, serial: int, until: float) -> tuple[Change, ...] | Problem:
        """The changes after a revision; none when a status may have changed, or the time is over."""
        found: tuple[Change, ...] | Problem = ()
        async with anyio.create_task_group() as group:
            group.cancel_scope.deadline = until

            async def changes() -> None:
                nonlocal found
                found = await self._context.store.changes(at)
                group.cancel_scope.cancel()

            async def settled() -> None:
                await self._context.engine.settled().newer_than(serial)
                group.cancel_scope.cancel()

            async def closing() -> None:
                await self._context.closing.wait()
                group.cancel_scope.cancel()

            for wait in (changes, settled, closing):
                group.start_soon(wait)
        return found

    async def _changed(self, change: Change) -> bytes | None:
        """One change as this watch sees it: whose labels stop matching is gone, whose labels begin to match is new."""
        record = change.record
        if not self._selection.covers(record):
            return None
        takes = self._selection.takes(record)
        if change.verb is Verb.DELETED:
            self._statuses.pop(record.ref, None)
            return self._event("DELETED", record) if takes else None
        took = change.verb is not Verb.CREATED
        if took and self._selection.labels:
            before = await self._context.store.before(change)
            took = before is not None and self._selection.takes(before)
        if not takes:
            self._statuses.pop(record.ref, None)
            return self._event("DELETED", record) if took else None
        self._statuses[record.ref] = self._context.statuses.view()(record.ref)
        return self._event("MODIFIED" if took else "ADDED", record)

    def _with_new_status(self) -> list[Record]:
        changed: list[Record] = []
        status = self._context.statuses.view()
        for ref, before in self._statuses.items():
            now, record = status(ref), self._context.store.get(ref)
            if now != before and record is not None:
                self._statuses[ref] = now
                changed.append(record)
        return changed

    def _event(self, kind: str, record: Record) -> bytes:
        return msgspec.json.encode({"type": kind, "object": self._show(record, self._statuses.get(record.ref))}) + b"\n"

    def _bookmark(self, at: int) -> bytes | None:
        if not self._bookmarks:
            return None
        mark = {"kind": self._selection.kind, "metadata": {"resourceVersion": str(at)}}
        return msgspec.json.encode({"type": "BOOKMARK", "object": mark}) + b"\n"
