"""Who set which field of an object, and how writes of several owners come together. Pure.

A document is flattened to leaves: a path and a value. Paths are spelled as in Kubernetes' ``fieldsV1``: ``f:<name>``
for a key of a mapping, ``k:<json>`` for an item of a list whose items are told apart by some of their fields. Every
other list is one leaf: its owner sets it as a whole, and ``LIST_KEYS`` names the only exceptions. Merging is then
arithmetic on sets of leaves, and an emptied mapping vanishes by itself.

- Apply: what the owner set last time and no longer says is removed, unless another owner set it too; what it says is
  set; everything else stays. A different value of another owner's field is a conflict, or is taken over by ``force``.
- Replace: the document becomes what was sent. Fields that changed belong to the writer, the others stay as they were.

Source: Kubernetes, "Server-Side Apply". A null in a manifest means "not said", as there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from weft.api.path import Path as FieldPath
from weft.api.path import format_path

if TYPE_CHECKING:
    from weft.sources.records import Data

Path: TypeAlias = tuple[str, ...]
Leaves: TypeAlias = dict[Path, Any]

LIST_KEYS: Final[Mapping[tuple[str, Path], tuple[str, ...]]] = MappingProxyType(
    {
        ("Service", ("f:spec", "f:ports")): ("port", "protocol"),
        ("Gateway", ("f:spec", "f:listeners")): ("name",),
    }
)
"""Lists that several owners may share: (kind, path) to the fields that tell items apart."""

_KEY_DEFAULTS: Final = MappingProxyType({"protocol": "TCP"})

SERVER_FIELDS: Final = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
"""Metadata that the store fills. What a manifest says of it (from ``get -o yaml``) is not a wish."""


class Owned(msgspec.Struct, frozen=True):
    """The fields that one owner set. ``operation`` is ``Apply`` or ``Update``; ``time`` is RFC 3339, UTC."""

    owner: str
    operation: str
    time: str
    fields: tuple[Path, ...]


class Conflict(msgspec.Struct, frozen=True):
    """A field that ``owner`` set to another value."""

    path: Path
    owner: str


class Merged(msgspec.Struct, frozen=True):
    leaves: Leaves
    managed: tuple[Owned, ...]
    conflicts: tuple[Conflict, ...] = ()


def content(data: Data) -> dict[str, Any]:
    """What a writer may say: the document without status, its name, and the metadata that the store fills."""
    said = {key: value for key, value in data.items() if key not in ("apiVersion", "kind", "status", "metadata")}
    metadata = data.get("metadata")
    if isinstance(metadata, Mapping):
        hidden = SERVER_FIELDS | {"name", "namespace"}
        said["metadata"] = {key: value for key, value in metadata.items() if key not in hidden}
        if not said["metadata"]:
            del said["metadata"]
    return said


def flatten(kind: str, data: Data) -> Leaves:
    """The leaves of a mapping. Nulls are left out; an empty mapping or list is a leaf."""
    found: Leaves = {}
    _flatten(kind, (), data, found)
    return found


def _flatten(kind: str, path: Path, data: Data, found: Leaves) -> None:
    for key, value in data.items():
        here = (*path, f"f:{key}")
        if value is None:
            continue
        if isinstance(value, Mapping) and value:
            _flatten(kind, here, value, found)
        elif isinstance(value, list) and value and (keys := LIST_KEYS.get((kind, here))):
            _flatten_list(kind, here, value, keys, found)
        else:
            found[here] = value


def _flatten_list(kind: str, path: Path, items: list[Any], keys: tuple[str, ...], found: Leaves) -> None:
    steps = [_item_step(item, keys) for item in items]
    if None in steps or len(set(steps)) != len(steps):
        found[path] = items  # items that cannot be told apart: one leaf
        return
    for step, item in zip(steps, items, strict=True):
        _flatten(kind, (*path, str(step)), item, found)


def _item_step(item: object, keys: tuple[str, ...]) -> str | None:
    if not isinstance(item, Mapping):
        return None
    named = {key: item.get(key, _KEY_DEFAULTS.get(key)) for key in keys}
    if None in named.values() or item.get(keys[0]) is None:
        return None
    return "k:" + json.dumps(named, separators=(",", ":"), sort_keys=True)


def unflatten(leaves: Leaves) -> dict[str, Any]:
    """The mapping that has these leaves; items of keyed lists in the order of their first leaf."""
    root: dict[str, Any] = {}
    for path, value in leaves.items():
        node = root
        for step in path[:-1]:
            node = node.setdefault(step, {})
        node[path[-1]] = value
    return _plain(root)


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    return {step[2:]: _plain_value(value) for step, value in node.items()}


def _plain_value(value: object) -> object:
    if not isinstance(value, dict) or not value:
        return value
    first = next(iter(value))
    if first.startswith("k:"):
        return [_plain(item) for item in value.values()]
    return _plain(value) if first.startswith("f:") else value


def apply(live: Leaves, wanted: Leaves, managed: tuple[Owned, ...], *, owner: str, time: str) -> Merged:
    """The outcome of a declarative apply. With conflicts and without ``force`` the leaves are to be thrown away."""
    others = [entry for entry in managed if (entry.owner, entry.operation) != (owner, "Apply")]
    previous = _fields(managed, owner)
    held = {path: entry.owner for entry in others if entry.owner != owner for path in entry.fields}
    conflicts = tuple(
        Conflict(path, held[path]) for path in wanted if path in held and not same(live.get(path), wanted[path])
    )
    gone = {path for path in previous if path not in wanted and path not in held}
    merged = {path: value for path, value in live.items() if path not in gone}
    _put(merged, wanted)
    taken = {conflict.path for conflict in conflicts}
    kept = tuple(left for entry in others if (left := _without(entry, taken if entry.owner != owner else set(wanted))))
    mine = Owned(owner, "Apply", time, tuple(sorted(wanted)))
    return Merged(merged, _sorted((*_existing(kept, merged), mine)), conflicts)


def leave(live: Leaves, managed: tuple[Owned, ...], *, owner: str) -> Merged:
    """What stays when an owner withdraws its apply: the fields that others set too."""
    rest = tuple(entry for entry in managed if (entry.owner, entry.operation) != (owner, "Apply"))
    held = {path for entry in rest for path in entry.fields}
    gone = {path for path in _fields(managed, owner) if path not in held}
    return Merged({path: value for path, value in live.items() if path not in gone}, rest)


def replace(live: Leaves, wanted: Leaves, managed: tuple[Owned, ...], *, owner: str, time: str) -> Merged:
    """The outcome of a whole replacement."""
    changed = {path for path, value in wanted.items() if path not in live or not same(live[path], value)}
    kept = tuple(left for entry in managed if (left := _without(entry, changed)))
    mine = {path for entry in kept if (entry.owner, entry.operation) == (owner, "Update") for path in entry.fields}
    rest = tuple(entry for entry in kept if (entry.owner, entry.operation) != (owner, "Update"))
    if fields := tuple(sorted((mine | changed) & set(wanted))):
        rest = (*rest, Owned(owner, "Update", time, fields))
    return Merged(dict(wanted), _sorted(_existing(rest, wanted)))


def same(one: object, other: object) -> bool:
    """Equality of JSON values: ``1`` is not ``true``, and ``1`` is not ``1.0``."""
    return canonical(one) == canonical(other)


def canonical(value: object) -> bytes:
    """JSON with sorted keys: equal values give equal bytes."""
    return msgspec.json.encode(value, order="sorted")


def field_path(path: Path) -> str:
    """The spelling that problems show: ``spec.ports[{"port":80}].name``."""
    steps: FieldPath = tuple(step[2:] for step in path)
    return format_path(steps)


def _fields(managed: tuple[Owned, ...], owner: str) -> tuple[Path, ...]:
    return next((entry.fields for entry in managed if (entry.owner, entry.operation) == (owner, "Apply")), ())


def _put(merged: Leaves, wanted: Leaves) -> None:
    """Set leaves. A value that turned from scalar to mapping, or back, replaces what stood there."""
    above = {path[:end] for path in wanted for end in range(1, len(path))}
    solid = {path for path, value in wanted.items() if value != {}}
    for path in list(merged):
        if path in above or any(path[:end] in solid for end in range(1, len(path))):
            del merged[path]
    inside = {path[:end] for path in merged for end in range(1, len(path))}
    for path, value in wanted.items():
        if value != {} or path not in inside:
            merged[path] = value


def _without(entry: Owned, taken: Iterable[Path]) -> Owned | None:
    gone = set(taken)
    left = tuple(path for path in entry.fields if path not in gone)
    if not left and entry.operation == "Update":
        return None
    return entry if len(left) == len(entry.fields) else msgspec.structs.replace(entry, fields=left)


def _existing(entries: tuple[Owned, ...], leaves: Leaves) -> tuple[Owned, ...]:
    """Owners of fields that are still there. An applier stays, with nothing left too: the object is still its wish."""
    inside = {path[:end] for path in leaves for end in range(1, len(path) + 1)}
    gone = {path for entry in entries for path in entry.fields if path not in inside}
    return tuple(left for entry in entries if (left := _without(entry, gone)))


def _sorted(entries: tuple[Owned, ...]) -> tuple[Owned, ...]:
    return tuple(sorted(entries, key=lambda entry: (entry.owner, entry.operation)))
