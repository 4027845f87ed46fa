"""OpenAPI 3, generated: the kinds from the models that check them, weft's own paths from the list that routes them.

As in Kubernetes, ``/openapi/v3`` is an index of documents, one for each group and version, and ``/openapi/v3/weft/v1``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from weft.api import schema
from weft.api.kinds import KINDS, Kind
from weft.web import paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


OBJECT_QUERY: Final = ("dryRun", "fieldManager", "force")
LIST_QUERY: Final = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "timeoutSeconds",
    "watch",
)


def index() -> dict[str, Any]:
    names = sorted({paths.prefix(kind, version).strip("/") for kind in KINDS for version in kind.versions})
    return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}"} for name in (*names, "weft/v1")}}


def document(name: str, own: Iterable[tuple[str, str, str]], version: str) -> dict[str, Any] | None:
    """The document of ``apis/GROUP/VERSION``, ``api/v1`` or ``weft/v1``; ``own`` are (method, path, what it does)."""
    if name == "weft/v1":
        return _whole(version, _own(own), {})
    found: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for kind in KINDS:
        for spelled in kind.versions:
            prefix = paths.prefix(kind, spelled)
            if prefix.strip("/") == name:
                found |= _of_kind(kind, prefix)
                schemas |= _schemas(kind, spelled)
    return _whole(version, found, schemas) if found else None


def _whole(version: str, found: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    info = {"title": "weft", "version": version, "license": {"name": "Apache-2.0"}}
    return {"openapi": "3.1.0", "info": info, "paths": found, "components": {"schemas": schemas}}


def _of_kind(kind: Kind, prefix: str) -> dict[str, Any]:
    inside = f"{prefix}/namespaces/{{namespace}}" if kind.namespaced else prefix
    reference = {"$ref": f"#/components/schemas/{kind.kind}"}
    collection = {
        "get": _operation(f"List {kind.plural}", LIST_QUERY),
        "post": _operation(f"Create a {kind.kind}", OBJECT_QUERY, reference),
    }
    item = {
        "get": _operation(f"Read a {kind.kind}", ()),
        "put": _operation(f"Replace a {kind.kind}", OBJECT_QUERY, reference),
        "patch": _operation(f"Apply or merge a {kind.kind}", OBJECT_QUERY, reference),
        "delete": _operation(f"Delete a {kind.kind}", ("dryRun",)),
    }
    found = {f"{inside}/{kind.plural}": collection, f"{inside}/{kind.plural}/{{name}}": item}
    if kind.namespaced:
        found[f"{prefix}/{kind.plural}"] = {"get": _operation(f"List {kind.plural} of every namespace", LIST_QUERY)}
    return {path: {**operations, **_parameters(path)} for path, operations in found.items()}


def _own(own: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for method, path, what in own:
        plain = path.replace(":path}", "}")
        found.setdefault(plain, _parameters(plain))[method.lower()] = _operation(what, ())
    return found


def _parameters(path: str) -> dict[str, Any]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    found = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    return {"parameters": found} if found else {}


def _operation(what: str, query: Iterable[str], body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": what,
        "responses": {
            "2XX": {"description": "Done"},
            "4XX": {"description": "A Status object says what is wrong, with all problems"},
        },
    }
    if names := list(query):
        operation["parameters"] = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]
    if body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return operation


def _schemas(kind: Kind, version: str) -> dict[str, Any]:
    """The schema of a kind and of everything inside it."""
    text = msgspec.json.encode(schema.of_kind(kind)).replace(b'"#/$defs/', b'"#/components/schemas/')
    made: dict[str, Any] = msgspec.json.decode(text)
    inner = made.pop("$defs", {})
    del made["$schema"]
    made["x-kubernetes-group-version-kind"] = [{"group": kind.group, "version": version, "kind": kind.kind}]
    return {**inner, kind.kind: made}
