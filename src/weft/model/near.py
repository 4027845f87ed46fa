"""The names that a misspelt service name most likely meant, found in bounded time in a mesh of any size.

Sorted names have similar beginnings beside each other, and names sorted by their reversal similar ends. A look-up compares
with a fixed number of neighbours in both orders, so it costs the same at 100 and at 10,000 services.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

import msgspec

from weft.errors import nearest

if TYPE_CHECKING:
    from weft.names import ServiceKey

_NEIGHBOURS: Final = 32
_SHOWN: Final = 3


class NearIndex(msgspec.Struct, frozen=True, eq=False):
    """Every service name in two orders, and the namespaces that have it."""

    forward: tuple[str, ...]
    backward: tuple[str, ...]
    namespaces: dict[str, list[str]]


def near_index(keys: list[ServiceKey]) -> NearIndex:
    """The index of these services; linear in their number, so ask for it only when somebody asked for an unknown name."""
    namespaces: dict[str, list[str]] = {}
    for key in keys:
        namespaces.setdefault(key.name, []).append(key.namespace)
    forward = tuple(sorted(namespaces))
    return NearIndex(forward, tuple(sorted(name[::-1] for name in forward)), namespaces)


def near(index: NearIndex, name: str, namespace: str) -> tuple[str, ...]:
    """At most three names like ``reviews.default``: the same name elsewhere first, then the most similar ones.

    ``name`` is the first label of what was asked for, ``namespace`` the one it was looked for in: it wins among equals.
    """
    same = [f"{name}.{found}" for found in sorted(index.namespaces.get(name, ()))]
    candidates = {*_around(index.forward, name), *(text[::-1] for text in _around(index.backward, name[::-1]))}
    candidates.discard(name)
    similar: list[str] = []
    for candidate in nearest(name, tuple(sorted(candidates)), limit=_SHOWN):
        found = index.namespaces[candidate]
        similar.append(f"{candidate}.{namespace if namespace in found else min(found)}")
    return tuple((same + similar)[:_SHOWN])


def _around(ordered: tuple[str, ...], text: str) -> tuple[str, ...]:
    place = bisect_left(ordered, text)
    return ordered[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS]


def near_objects(index: NearIndex, name: str, namespace: str) -> tuple[str, ...]:
    """As ``near``, spelled as objects refer to each other: ``reviews``, or ``shop/reviews`` for another namespace."""
    found = []
    for each in near(index, name, namespace):
        service, _, where = each.rpartition(".")
        found.append(service if where == namespace else f"{where}/{service}")
    return tuple(found)
