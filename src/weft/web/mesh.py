"""What weft's own clients ask: apply, diff, history, rollback, problems, proxies, hosts, placements and names.

Answers are JSON objects; lists stand in ``items`` or under their own name, problems (``weft.errors``) in ``problems``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec
from starlette.responses import Response, StreamingResponse

from weft.api.kinds import KINDS
from weft.errors import Problem, nearest
from weft.explain import impact
from weft.model.believed import believed
from weft.model.service import HostReport
from weft.sources.records import Applied, Change, Outcome, Reason, Verb, World
from weft.values import Ref
from weft.web import answers, manifests
from weft.web.access import caller_of
from weft.web.answers import JSON, Refused, problem
from weft.web.context import Context, body, flag, number, place, writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from starlette.requests import Request

    from weft.api.document import Document
    from weft.latest import Latest
    from weft.sources.records import Writer

MAX_REPORT: Final = 16 * 1024 * 1024
"""Bytes of one host report: some 10,000 workloads."""

HISTORY: Final = 100

CLOSING: Final = frozenset({"AuthorizationPolicy", "PeerAuthentication", "TrafficTarget", "Mesh"})
"""Kinds by which callers can be shut out."""

MAX_WAIT: Final = 60
"""Seconds that an apply waits at most for proxies."""


async def apply(request: Request, context: Context) -> Response:
    """Declarative for ``?owner=``. Good documents apply, bad ones are refused; the answer says which, with status 200.

    ``force=false`` refuses a field that another owner set to another value instead of taking it over. ``wait=SECONDS``
    waits until every connected proxy answered; ``acknowledged`` in the answer says whether they did.
    """
    wait = number(request, "wait", 0)
    documents, problems, dry_run = *await manifests.documents(request), flag(request, "dryRun")
    who, prune = writer(request, request.query_params.get("owner", "")), flag(request, "prune")
    shut = await _closed(context, who, documents, prune=prune)
    applied = await context.store.apply(
        who,
        documents,
        prune=prune,
        force=flag(request, "force") if "force" in request.query_params else True,
        dry_run=dry_run,
    )
    response = _applied(applied, problems) | shut
    if wait and not dry_run:
        done = await context.engine.acknowledged(applied.revision, min(wait, MAX_WAIT))
        response["acknowledged"] = done
    return answers.json(response)


async def _closed(context: Context, who: Writer, documents: Sequence[Document], *, prune: bool) -> dict[str, Any]:
    """``closed``: whom the change newly shuts out (``explain.impact``). Asked only of what can do that."""
    before = context.engine.mesh()
    if before is None or not any(document.ref.kind in CLOSING for document in documents):
        return {}
    planned = await context.store.apply(who, documents, prune=prune, dry_run=True)
    world = imagined(context.store.publisher.latest.value, planned.outcomes)
    found = impact.closed(before, await context.engine.preview(world))
    return {"closed": [msgspec.to_builtins(each) for each in found]}


def _applied(applied: Applied, problems: tuple[Problem, ...]) -> dict[str, Any]:
    if any(outcome.reason is Reason.STORAGE for outcome in applied.outcomes):
        raise answers.refused_outcome(applied.outcomes[0])
    return {
        "revision": applied.revision,
        "results": [result(outcome) for outcome in applied.outcomes],
        "problems": answers.listed((*problems, *applied.problems)),
    }


def result(outcome: Outcome) -> dict[str, Any]:
    shown: dict[str, Any] = {"ref": msgspec.to_builtins(outcome.ref), "verb": outcome.verb.value}
    if outcome.record is not None:
        shown["revision"] = outcome.record.revision
    if outcome.reason is not None:
        shown["reason"] = outcome.reason.value
    return shown


async def diff(request: Request, context: Context) -> Response:
    """What an apply of the body would change: objects in ``results``, resources of proxies in ``proxies``."""
    documents, problems = await manifests.documents(request)
    who = writer(request, request.query_params.get("owner", ""))
    applied = await context.store.apply(who, documents, prune=flag(request, "prune"), dry_run=True)
    world = imagined(context.store.publisher.latest.value, applied.outcomes)
    proxies = await context.engine.diff(world)
    shut = await _closed(context, who, documents, prune=flag(request, "prune"))
    return answers.json(
        {
            **shut,
            "results": [result(outcome) for outcome in applied.outcomes],
            "proxies": [msgspec.to_builtins(proxy) for proxy in proxies],
            "problems": answers.listed((*problems, *applied.problems)),
        }
    )


def imagined(world: World, outcomes: tuple[Outcome, ...]) -> World:
    """The world as it would be after outcomes of a dry run."""
    records = {record.ref: record for record in world.records}
    for outcome in outcomes:
        if outcome.verb is Verb.DELETED:
            records.pop(outcome.ref, None)
        elif outcome.record is not None:
            records[outcome.ref] = outcome.record
    return msgspec.structs.replace(world, records=tuple(records[ref] for ref in sorted(records)))


async def history(request: Request, context: Context) -> Response:
    """The newest ``limit`` changes, oldest first; of one object with ``ref=Kind/namespace/name``."""
    ref = _ref(request)
    found = await context.store.history(ref, limit=number(request, "limit", HISTORY))
    items = [_change(change, flag(request, "documents")) for change in reversed(found)]
    return answers.json({"revision": context.store.revision, "items": items})


def _change(change: Change, documents: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "revision": change.revision,
        "batch": change.batch,
        "time": change.time,
        "owner": change.writer.owner,
        "who": change.writer.who,
        "verb": change.verb.value,
        "ref": msgspec.to_builtins(change.record.ref),
    }
    return shown | {"document": msgspec.Raw(change.record.document)} if documents else shown


async def rollback(request: Request, context: Context) -> Response:
    """Everything, or one object with ``ref``, as it was after ``revision``."""
    if not request.query_params.get("revision"):
        message, remedy = "rollback needs a revision", "Add ?revision=N; GET /weft/v1/history lists them"
        raise Refused(400, problem("WFT-1512", message, remedy, place(request), "revision"))
    who = writer(request, request.query_params.get("owner", ""))
    done = await context.store.rollback(
        who, number(request, "revision", 0), ref=_ref(request), dry_run=flag(request, "dryRun")
    )
    if isinstance(done, Problem):
        raise Refused(410, done)
    return answers.json(_applied(done, ()))


def _ref(request: Request) -> Ref | None:
    """``HTTPRoute/shop/cart`` or ``GatewayClass/weft``."""
    text = request.query_params.get("ref", "")
    if not text:
        return None
    parts = text.split("/")
    kinds = [kind for kind in KINDS if kind.kind == parts[0]]
    if len(kinds) != 1 or len(parts) != (3 if kinds[0].namespaced else 2) or not all(parts):
        near = nearest(parts[0], [kind.kind for kind in KINDS])
        remedy = "Write Kind/namespace/name" + (f"; near it are {', '.join(near)}" if near and not kinds else "")
        message = f"{text[:120]!r} does not name an object"
        raise Refused(400, problem("WFT-1512", message, remedy, place(request), "ref"))
    return Ref(kinds[0].group, kinds[0].kind, parts[1] if len(parts) == 3 else "", parts[-1])


async def problems(request: Request, context: Context) -> Response:  # noqa: ARG001 - the form of a handler
    """Every current problem: of compiling and building, of the sources, and of host reports."""
    trust = context.trust.problems() if context.trust else ()
    found = (*context.file_problems(), *context.registry.problems, *trust, *context.engine.problems())
    return answers.json({"revision": context.engine.settled().value, "problems": answers.listed(dict.fromkeys(found))})


async def proxies(request: Request, context: Context) -> Response:  # noqa: ARG001 - as above
    items = [msgspec.to_builtins(proxy) | {"state": proxy.state.value} for proxy in context.engine.proxies()]
    return answers.json({"items": items})


async def resources(request: Request, context: Context) -> Response:
    """``kind``: listener, route, cluster and so on, or empty for all. ``state``: wanted (default) or held."""
    node, state = request.path_params["node"], request.query_params.get("state", "wanted")
    if state not in ("wanted", "held"):
        message, remedy = f"state is {state[:40]!r}", "Use wanted or held"
        raise Refused(400, problem("WFT-1512", message, remedy, place(request), "state"))
    found = context.engine.resources(node, request.query_params.get("kind", ""), state)
    if found is None:
        raise _no_proxy(request, context, node)
    return answers.json({"node": node, "state": state, "items": [msgspec.to_builtins(each) for each in found]})


async def held(request: Request, context: Context) -> Response:
    node = request.path_params["node"]
    found = context.engine.held(node)
    if found is None:
        raise _no_proxy(request, context, node)
    return Response(found, media_type="application/octet-stream")


def _no_proxy(request: Request, context: Context, node: str) -> Refused:
    near = nearest(node, [proxy.node for proxy in context.engine.proxies()])
    remedy = f"Near it are {', '.join(near)}" if near else "List them: weft proxy status"
    return Refused(404, problem("WFT-1508", f"there is no proxy {node[:120]!r}", remedy, place(request)))


async def confirm(request: Request, context: Context) -> Response:
    """Let the mass-removal guard go, for one proxy."""
    node = request.path_params["node"]
    if all(proxy.node != node for proxy in context.engine.proxies()):
        raise _no_proxy(request, context, node)
    return answers.json({"node": node, "removed": context.engine.confirm_removals(node)})


async def hosts(request: Request, context: Context) -> Response:  # noqa: ARG001 - as above
    now = context.now().timestamp()
    items = [
        {
            "host": host.report.host,
            "heardSecondsAgo": max(0.0, now - host.heard),
            "address": host.report.address,
            "lost": host.report.host in context.registry.lost,
            "workloads": msgspec.to_builtins(host.report.workloads),
            "problems": answers.listed((host.problem,) if host.problem else ()),
        }
        for host in context.registry.hosts
    ]
    return answers.json({"items": items})


async def put_host(request: Request, context: Context) -> Response:
    """204 for a report that is believed, 202 with a problem for one that is not, 507 when it cannot be stored."""
    host = request.path_params["host"]
    try:
        report = msgspec.json.decode(await body(request, MAX_REPORT), type=HostReport)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message, remedy = f"the body is not a host report: {error}", "Send HostReport as JSON"
        raise Refused(400, problem("WFT-1512", message, remedy, place(request))) from error
    if report.host != host or not host.isprintable() or len(host) > 253:
        message, remedy = f"the report is of host {report.host[:80]!r}", "Send it to its own path"
        raise Refused(400, problem("WFT-1515", message, remedy, place(request)))
    report = msgspec.structs.replace(report, joined=False)  # not an agent's to say
    if caller_of(request).host:
        mesh = context.trust.mesh() if context.trust is not None else None
        if mesh is None:
            raise context.not_ready()
        report = believed(report, mesh.placements)
    found = await context.registry.put(report)
    if found is None:
        return Response(status_code=204)
    if found.code == "WFT-1504":
        raise Refused(507, found)
    return answers.json({"problems": answers.listed((found,))}, 202)


async def delete_host(request: Request, context: Context) -> Response:
    host = request.path_params["host"]
    done = await context.registry.delete(host)
    if isinstance(done, Problem):
        raise Refused(507, done)
    if not done:
        near = nearest(host, [each.report.host for each in context.registry.hosts])
        remedy = f"Near it are {', '.join(near)}" if near else "List them: GET /weft/v1/hosts"
        raise Refused(404, problem("WFT-1508", f"there is no host {host[:120]!r}", remedy, place(request)))
    return Response(status_code=204)


async def placements(request: Request, context: Context) -> Response:
    """What the agent of ``host`` shall run."""
    host = request.query_params.get("host", "")
    if not host:
        message, remedy = "placements are those of one host", "Add ?host=NAME"
        raise Refused(400, problem("WFT-1512", message, remedy, place(request), "host"))
    return newest(request, context, lambda: context.engine.placements(host))


async def names(request: Request, context: Context) -> Response:
    """What the resolver of captured namespaces answers."""
    return newest(request, context, context.engine.names)


async def services(request: Request, context: Context) -> Response:
    """Every service that can be called, whatever declares it; ``namespace`` leaves only those of one."""
    wanted = request.query_params.get("namespace", "")
    items = [msgspec.to_builtins(each) for each in context.engine.services() if wanted in ("", each.namespace)]
    return answers.json({"items": items})


def newest(request: Request, context: Context, cell: Callable[[], Latest[Any]]) -> Response:
    """The value of a cell, or with ``?watch=true`` one line for each change; 503 while there is none."""
    if not flag(request, "watch"):
        if cell().value is None:
            raise context.not_ready()
        return Response(msgspec.json.encode(cell().value), media_type=JSON)
    return StreamingResponse(_lines(context, cell()), media_type=JSON)


async def _lines(context: Context, cell: Latest[Any]) -> AsyncIterator[bytes]:
    """A line as soon as there is a value and one per change; an equal value is not sent again."""
    sent, serial = b"", cell.serial
    while not context.closing.is_set():
        line = msgspec.json.encode(cell.value) if cell.value is not None else b""
        if line != sent:
            sent = line
            yield line + b"\n"
        async with anyio.create_task_group() as group:

            async def closing(scope: anyio.CancelScope = group.cancel_scope) -> None:
                await context.closing.wait()
                scope.cancel()

            group.start_soon(closing)
            serial, _ = await cell.newer_than(serial)
            group.cancel_scope.cancel()
