"""Values that every layer shares: where something stands, what it is called, and units of time and size.

Everything that travels between two stages of the pipeline is an immutable value. A value that is used as a memo key
declares ``frozen=True, cache_hash=True`` so that looking it up again costs one pointer comparison.
"""

from __future__ import annotations

from typing import NewType, TypeAlias

import msgspec

Milliseconds = NewType("Milliseconds", int)
Bytes = NewType("Bytes", int)

Pairs: TypeAlias = tuple[tuple[str, str], ...]
"""A sorted mapping of strings as a value: labels, selectors, header edits."""


class Origin(msgspec.Struct, frozen=True, cache_hash=True):
    """Where a document stands: a file with a line and a column (both from 1), or another writer's name with 0, 0.

    Origins ride beside values, never inside memo keys: moving a line in a file must not touch Envoy.
    """

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


class Ref(msgspec.Struct, frozen=True, cache_hash=True, order=True):
    """The name of one user object, as Kubernetes spells it. ``group`` is empty for core kinds."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def path(self) -> str:
        """The provenance form, such as ``HTTPRoute/shop/cart``; Envoy objects carry it (see ``names``)."""
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


def pairs(mapping: dict[str, str]) -> Pairs:
    """A mapping as a sorted, hashable value."""
    return tuple(sorted(mapping.items()))
