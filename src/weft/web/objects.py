"""Objects over HTTP, as Kubernetes' clients expect them: read, list, watch, create, replace, patch and delete.

Source: Kubernetes API conventions and "Kubernetes API Concepts". Every version of a kind has the same fields here, so
an object is shown in the version that the path asks for. ``status`` is merged in when an object is read.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from weft.api import include
from weft.api.document import MAX_BYTES, Document, read, reference
from weft.sources.records import Outcome, Record, Verb, World
from weft.sources.writes import missing
from weft.values import Origin
from weft.web import answers, paths, selectors, watch
from weft.web.answers import Refused, problem
from weft.web.context import Context, body, flag, number, place, writer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from weft.errors import Problem
    from weft.web.paths import Target

JSON_TYPES: Final = ("application/json", "application/yaml", "application/x-yaml", "text/yaml")
APPLY_PATCH: Final = ("application/apply-patch+yaml", "application/apply-patch+json")
MERGE_PATCH: Final = "application/merge-patch+json"
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


async def handle(request: Request, context: Context) -> Response:
    """Any request below ``/api/v1`` or ``/apis/GROUP/VERSION``."""
    target = paths.parse(request.url.path)
    if target is None:
        raise unknown_path(request)
    method = "GET" if request.method == "HEAD" else request.method
    if target.subresource and method != "GET":
        raise _no_method(request, "status is computed and cannot be written", ("GET",))
    if target.name:
        handler = {"GET": _get, "PUT": _replace, "PATCH": _patch, "DELETE": _delete}.get(method)
        allowed: tuple[str, ...] = ("GET", "PUT", "PATCH", "DELETE")
    else:
        handler = {"GET": _list, "POST": _create}.get(method)
        allowed = ("GET", "POST")
    if handler is None:
        raise _no_method(request, f"{request.method} does not exist here", allowed)
    return await handler(request, context, target)


def unknown_path(request: Request) -> Refused:
    near = paths.near(request.url.path)
    remedy = f"Near it are {', '.join(near)}" if near else "Look at /openapi/v3 for the paths there are"
    message = f"there is nothing at {request.url.path[:200]}"
    return Refused(404, problem("WFT-1514", message, remedy, place(request)))


def _no_method(request: Request, why: str, allowed: tuple[str, ...]) -> Refused:
    return Refused(405, problem("WFT-1519", why, f"Use {', '.join(allowed)}", place(request)))


async def _get(request: Request, context: Context, target: Target) -> Response:
    record = context.store.get(target.ref)
    if record is None:
        raise Refused(404, missing(target.ref, Origin(place(request))), ref=target.ref)
    return answers.json(shown(target, record, context.statuses.view()(record.ref)))


async def _list(request: Request, context: Context, target: Target) -> Response:
    """``limit`` and ``continue`` page by name; a list is consistent within a page."""
    wanted = selection(request, target)
    if flag(request, "watch"):
        return await watch.answer(request, context, wanted, lambda record, status: shown(target, record, status))
    limit = number(request, "limit", 0)
    world = context.store.publisher.latest.value
    items: list[dict[str, Any]] = []
    status = context.statuses.view()
    metadata: dict[str, Any] = {"resourceVersion": str(world.revision)}
    after = _after(request)
    for record in _of_kind(world, target):
        if after is not None and (record.ref.namespace, record.ref.name) <= after:
            continue
        if wanted.takes(record):
            if limit and len(items) == limit:
                last = items[-1]["metadata"]
                metadata["continue"] = _token(last.get("namespace", ""), last["name"])
                break
            items.append(shown(target, record, status(record.ref)))
    kind = f"{target.kind.kind}List"
    return answers.json({"apiVersion": target.api_version, "kind": kind, "metadata": metadata, "items": items})


def selection(request: Request, target: Target) -> watch.Selection:
    """What a list or a watch is of: the path, ``labelSelector`` and ``fieldSelector``."""
    labels = selectors.parse(request.query_params.get("labelSelector", ""))
    fields = selectors.parse(request.query_params.get("fieldSelector", ""))
    for name, parsed in (("labelSelector", labels), ("fieldSelector", fields)):
        if isinstance(parsed, str):
            message, remedy = (
                f"{parsed[:80]!r} is not a requirement",
                "Write it as in 'app=shop,version!=v1,tier in (a,b)'",
            )
            raise Refused(400, problem("WFT-1512", message, remedy, place(request), name))
    if isinstance(labels, str) or isinstance(fields, str):  # refused above
        raise TypeError
    for requirement in fields:
        if requirement.key not in selectors.FIELDS or requirement.operator not in ("in", "notin"):
            message, remedy = f"field {requirement.key!r} cannot be selected by", f"Use {' or '.join(selectors.FIELDS)}"
            raise Refused(400, problem("WFT-1512", message, remedy, place(request), "fieldSelector"))
    kind = target.kind
    return watch.Selection(kind.group, kind.kind, target.namespace, labels, fields)


def _of_kind(world: World, target: Target) -> Iterator[Record]:
    for record in world.records:
        ref = record.ref
        if ref.kind == target.kind.kind and ref.group == target.kind.group:
            yield record


def _token(namespace: str, name: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([namespace, name])).decode()


def _after(request: Request) -> tuple[str, str] | None:
    token = request.query_params.get("continue", "")
    if not token:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token), type=tuple[str, str])
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        message, remedy = "the continue token is not one of ours", "List again without it"
        raise Refused(410, problem("WFT-1512", message, remedy, place(request), "continue")) from error


async def _create(request: Request, context: Context, target: Target) -> Response:
    document = await _document(request, target, JSON_TYPES)
    outcome = await context.store.create(writer(request), document, dry_run=flag(request, "dryRun"))
    return _answer(context, target, outcome, 201)


async def _replace(request: Request, context: Context, target: Target) -> Response:
    document = await _document(request, target, JSON_TYPES)
    outcome = await context.store.replace(writer(request), document, dry_run=flag(request, "dryRun"))
    return _answer(context, target, outcome)


async def _patch(request: Request, context: Context, target: Target) -> Response:
    kind = _media_type(request)
    if kind == MERGE_PATCH:
        return await _merge_patch(request, context, target)
    if kind not in APPLY_PATCH:
        raise _media_type_refused(request, kind, (*APPLY_PATCH, MERGE_PATCH))
    if not request.query_params.get("fieldManager"):
        message, remedy = "an apply needs to know on whose behalf it is", "Add ?fieldManager=NAME"
        raise Refused(400, problem("WFT-1512", message, remedy, place(request), "fieldManager"))
    document = await _document(request, target, APPLY_PATCH)
    dry_run, force = flag(request, "dryRun"), flag(request, "force")
    applied = await context.store.apply(writer(request), [document], force=force, dry_run=dry_run)
    (outcome,) = applied.outcomes
    return _answer(context, target, outcome, 201 if outcome.verb is Verb.CREATED else 200)


async def _merge_patch(request: Request, context: Context, target: Target) -> Response:
    """RFC 7386, on what the object is now: nobody can come in between."""
    where = place(request)
    reading = read(await body(request, MAX_BYTES), where)
    if reading.problems or len(reading.documents) != 1:
        raise Refused(400, *(reading.problems or (_not_one(request, len(reading.documents)),)))
    patch = reading.documents[0].data

    def change(record: Record | None) -> Document | Outcome:
        if record is None:
            raise Refused(404, missing(target.ref, Origin(where)), ref=target.ref)
        data = merged(_plain(record), patch)
        data = data if isinstance(data, dict) else {}
        return _belonging(
            request, target, Document(ref=reference(data, target.namespace), data=data, origin=Origin(where))
        )

    outcome = await context.store.update(writer(request), target.ref, change, dry_run=flag(request, "dryRun"))
    return _answer(context, target, outcome)


def merged(base: object, patch: object) -> object:
    """RFC 7386: a null removes, a mapping is merged, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(base) if isinstance(base, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def _plain(record: Record) -> dict[str, Any]:
    """What a patch is applied to. Its resourceVersion is only a condition when the patch names one."""
    data: dict[str, Any] = msgspec.json.decode(record.document)
    del data["metadata"]["resourceVersion"]
    return data


async def _delete(request: Request, context: Context, target: Target) -> Response:
    """Kubernetes' ``DeleteOptions`` may come as a body, with preconditions; nothing is deleted in the background."""
    data = await body(request, 64 * 1024)
    options: dict[str, Any] = {}
    if data.strip():
        reading = read(data, place(request))
        if reading.problems or len(reading.documents) != 1:
            raise Refused(400, *(reading.problems or (_not_one(request, len(reading.documents)),)))
        options = reading.documents[0].data
    found = options.get("preconditions")
    conditions = found if isinstance(found, dict) else {}
    outcome = await context.store.delete(
        writer(request),
        target.ref,
        resource_version=_text(conditions.get("resourceVersion")),
        uid=_text(conditions.get("uid")),
        dry_run=flag(request, "dryRun") or options.get("dryRun") == ["All"],
    )
    return _answer(context, target, outcome)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


async def _document(request: Request, target: Target, types: tuple[str, ...]) -> Document:
    """The one object of a request, which must be the one that the path names."""
    kind = _media_type(request)
    if kind and kind not in types:
        raise _media_type_refused(request, kind, types)
    reading = read(await body(request, MAX_BYTES), place(request), target.namespace or "default")
    if reading.problems:
        raise Refused(400, *reading.problems)
    if len(reading.documents) != 1:
        raise Refused(400, _not_one(request, len(reading.documents)))
    return _belonging(request, target, reading.documents[0])


def _belonging(request: Request, target: Target, document: Document) -> Document:
    """The document, when it is what the path says; a version is converted, everything else must agree."""
    said = document.ref
    expected = target.ref if target.name else msgspec.structs.replace(target.ref, name=said.name)
    if target.kind.namespaced and not target.namespace:
        expected = msgspec.structs.replace(expected, namespace=said.namespace)
    if document.data.get("apiVersion") not in target.kind.api_versions or said != expected:
        message = f"the document is {document.data.get('apiVersion')!s:.80} {said}, the path names {expected}"
        remedy = "Send it to its own path, or correct the document"
        raise Refused(400, problem("WFT-1515", message, remedy, place(request)), ref=expected)
    if problems := include.refuse(document):
        raise Refused(422, *problems, ref=said)
    return document


def _not_one(request: Request, count: int) -> Problem:
    message = f"the body holds {count} objects instead of one"
    return problem("WFT-1512", message, "Send one object, or use /weft/v1/apply for many", place(request))


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _media_type_refused(request: Request, kind: str, types: tuple[str, ...]) -> Refused:
    message, remedy = f"content type {kind[:80]!r} is not supported here", f"Send {' or '.join(types)}"
    return Refused(415, problem("WFT-1519", message, remedy, place(request)))


def _answer(context: Context, target: Target, outcome: Outcome, code: int = 200) -> Response:
    if outcome.verb is Verb.REFUSED or outcome.record is None:
        raise answers.refused_outcome(outcome)
    status = context.statuses.view()(outcome.ref)
    response = answers.json(shown(target, outcome.record, status), code)
    for warning in outcome.problems:
        text = f"{warning.code}: {warning.message}".encode("ascii", "replace").decode()
        response.headers.append("Warning", '299 - "' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
    return response


def shown(target: Target, record: Record, status: dict[str, Any] | None) -> dict[str, Any]:
    """An object as it is read: in the version of the path, with its status."""
    data: dict[str, Any] = msgspec.json.decode(record.document)
    data["apiVersion"] = target.api_version
    if status is not None:
        data["status"] = status
    return data
