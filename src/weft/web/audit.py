"""The audit log over HTTP, for admins: read it, watch it, and see that nothing was taken out of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import anyio
import msgspec
from starlette.responses import Response, StreamingResponse

from weft.errors import nearest
from weft.sources.audit import Kind
from weft.web import answers
from weft.web.answers import JSON, Refused, problem
from weft.web.context import Context, flag, number, place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from weft.sources.audit_file import Entry

LIMIT: Final = 100
MOST: Final = 10_000


async def listed(request: Request, context: Context) -> Response:
    """The newest ``limit`` entries, oldest first: of one ``kind``, after the number ``after``, from the time ``since`` on.
    ``watch=true`` goes on with a JSON line for each further one.
    """
    kind, since = request.query_params.get("kind", ""), request.query_params.get("since", "")
    kinds = [each.value for each in Kind]
    if kind and kind not in kinds:
        near = nearest(kind, kinds) or kinds
        message, remedy = f"{kind[:40]!r} is no kind of entry", f"Use {' or '.join(near)}"
        raise Refused(400, problem("WFT-1512", message, remedy, place(request), "kind"))
    since = _time(request, since)
    limit = min(number(request, "limit", LIMIT), MOST)
    found = await context.audit.entries(after=number(request, "after", 0), since=since, kind=kind, limit=limit)
    if flag(request, "watch"):
        return StreamingResponse(_lines(context, found, kind), media_type=JSON)
    return answers.json({"head": context.audit.head.value, "items": [msgspec.to_builtins(each) for each in found]})


def _time(request: Request, text: str) -> str:
    """A time as entries have it, so that the two compare as texts. Without a zone it is UTC."""
    if not text:
        return ""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        message, remedy = f"{text[:40]!r} is no time", "Write it as 2026-01-31T12:00:00Z"
        raise Refused(400, problem("WFT-1512", message, remedy, place(request), "since")) from None
    return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def _lines(context: Context, found: tuple[Entry, ...], kind: str) -> AsyncIterator[bytes]:
    serial, at = context.audit.head.serial, found[-1].number if found else context.audit.head.value
    while True:
        for entry in found:
            yield msgspec.json.encode(entry) + b"\n"
            at = max(at, entry.number)
        async with anyio.create_task_group() as group:

            async def closing(scope: anyio.CancelScope = group.cancel_scope) -> None:
                await context.closing.wait()
                scope.cancel()

            group.start_soon(closing)
            serial, _ = await context.audit.head.newer_than(serial)
            group.cancel_scope.cancel()
        if context.closing.is_set():
            return
        found = await context.audit.entries(after=at, kind=kind, limit=MOST)


async def verify(request: Request, context: Context) -> Response:  # noqa: ARG001 - the form of a handler
    """Every line, and that the log ends where this process wrote last."""
    return answers.json(await context.audit.verify())
