"""What an object's status says, as values, and how Kubernetes spells it.

Source: Gateway API, "Conditions" and GEP-1364. A condition's ``lastTransitionTime`` is not here: whoever stores a status knows
when its condition last changed.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from weft.values import Ref

CONTROLLER: Final = "weft.dev/gateway-controller"
TRUE: Final = "True"
FALSE: Final = "False"
UNKNOWN: Final = "Unknown"
PROGRAMMED: Final = "Programmed"
"""The condition, and its reason where it holds."""
PENDING: Final = "Pending"


class Condition(msgspec.Struct, frozen=True, cache_hash=True):
    """One statement about an object: ``status`` is True, False or Unknown, ``reason`` one word of the specification."""

    type: str
    status: str
    reason: str
    message: str = ""


class ListenerStatus(msgspec.Struct, frozen=True, cache_hash=True):
    """``supported_kinds`` are (group, kind). ``attached_routes`` counts the routes that this listener accepted."""

    name: str
    supported_kinds: tuple[tuple[str, str], ...]
    attached_routes: int
    conditions: tuple[Condition, ...]


class ParentRef(msgspec.Struct, frozen=True, cache_hash=True):
    """A parent as the route wrote it: what it did not say is None."""

    name: str
    group: str | None = None
    kind: str | None = None
    namespace: str | None = None
    section: str | None = None
    port: int | None = None


class ParentStatus(msgspec.Struct, frozen=True, cache_hash=True):
    parent: ParentRef
    conditions: tuple[Condition, ...]


class Status(msgspec.Struct, frozen=True, cache_hash=True):
    """The status of one object: ``parents`` for routes, ``listeners`` and ``conditions`` for gateways, else conditions.

    ``addresses`` are where a gateway is reached, as (type, value).
    """

    ref: Ref
    generation: int = 0
    conditions: tuple[Condition, ...] = ()
    listeners: tuple[ListenerStatus, ...] = ()
    parents: tuple[ParentStatus, ...] = ()
    addresses: tuple[tuple[str, str], ...] = ()


def render(status: Status, now: str) -> dict[str, Any]:
    """The ``status`` of the object as JSON. ``now`` (RFC 3339) becomes every condition's ``lastTransitionTime``."""
    generation = status.generation
    rendered: dict[str, Any] = {}
    if status.addresses:
        rendered["addresses"] = [{"type": kind, "value": value} for kind, value in status.addresses]
    if status.conditions:
        rendered["conditions"] = _conditions(status.conditions, generation, now)
    if status.listeners:
        rendered["listeners"] = [
            {
                "name": listener.name,
                "supportedKinds": [{"group": group, "kind": kind} for group, kind in listener.supported_kinds],
                "attachedRoutes": listener.attached_routes,
                "conditions": _conditions(listener.conditions, generation, now),
            }
            for listener in status.listeners
        ]
    if status.parents:
        rendered["parents"] = [
            {
                "parentRef": _parent(parent.parent),
                "controllerName": CONTROLLER,
                "conditions": _conditions(parent.conditions, generation, now),
            }
            for parent in status.parents
        ]
    return rendered


def _conditions(conditions: tuple[Condition, ...], generation: int, now: str) -> list[dict[str, Any]]:
    return [
        {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "observedGeneration": generation,
            "lastTransitionTime": now,
        }
        for condition in conditions
    ]


def _parent(parent: ParentRef) -> dict[str, Any]:
    named = {
        "group": parent.group,
        "kind": parent.kind,
        "namespace": parent.namespace,
        "name": parent.name,
        "sectionName": parent.section,
        "port": parent.port,
    }
    return {name: value for name, value in named.items() if value is not None}
