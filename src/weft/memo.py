"""Remembering the results of the last build, so that an unchanged input costs one dictionary look-up.

The argument is the cache key. A builder is a pure function of one frozen value; asking for it through a memo returns the
object made last time when an equal value was asked for in the previous or in this generation. What one generation did not
ask for is forgotten at its end. There is no invalidation, no dirty flag and no key written by hand.

Limits: keys must be hashable and immutable. A memo belongs to one task; it is not safe to share between threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

K = TypeVar("K", bound="Hashable")
S = TypeVar("S")
V = TypeVar("V")


class Memo:
    """Two generations of results: those of the build under way and those of the one before it."""

    def __init__(self) -> None:
        self._old: dict[tuple[Any, Any], Any] = {}
        self._new: dict[tuple[Any, Any], Any] = {}
        self._old_stages: dict[tuple[Any, Any], tuple[Any, Any, Memo]] = {}
        self._new_stages: dict[tuple[Any, Any], tuple[Any, Any, Memo]] = {}
        self.built = 0
        """How many results the current generation had to make. Tests and ``/metrics`` read it."""

    def __call__(self, build: Callable[[K], V], key: K) -> V:
        """``build(key)``, or the object it returned for an equal key in this generation or the one before."""
        entry = (build, key)
        new = self._new
        try:
            return new[entry]  # type: ignore[no-any-return]  # values are V by construction: keyed by their builder
        except KeyError:
            pass
        try:
            value = self._old[entry]
        except KeyError:
            value = build(key)
            self.built += 1
        new[entry] = value
        return value  # type: ignore[no-any-return]  # as above

    def stage(self, build: Callable[[S, Memo], V], key: S, name: Hashable = "") -> V:
        """``build(key, parts)``: a build of many parts, whose own memo lives on while ``key`` stays equal.

        An unchanged stage costs one comparison however many parts it has; a changed one finds all parts of its last run,
        which a plain memo would have forgotten in between. ``name`` tells several uses of one build apart (one for each
        host, say). Only the last key of a stage is remembered, and keys are compared, never hashed.
        """
        entry = (build, name)
        found = self._new_stages.get(entry) or self._old_stages.get(entry)
        if found is None:
            parts = Memo()
        elif found[0] == key:
            self._new_stages[entry] = found
            return found[1]  # type: ignore[no-any-return]  # as above
        else:
            parts = found[2]
        value = build(key, parts)
        self.built += 1
        parts.turn()
        self._new_stages[entry] = (key, value, parts)
        return value

    def group(self, build: Callable[[K, Memo], V], key: K) -> V:
        """``build(key, self)``: a cheap arrangement of parts that are dear. Made once in each generation, however often it
        is asked for, so that its parts are never forgotten; while it stays equal, it stays the same object.
        """
        entry = (build, key)
        new = self._new
        if entry in new:
            return new[entry]  # type: ignore[no-any-return]  # as above
        value = build(key, self)
        before = self._old.get(entry)
        if before is not None and before == value:
            value = before
        new[entry] = value
        return value

    def turn(self) -> None:
        """End this generation: what it did not ask for is forgotten."""
        self._old, self._new, self.built = self._new, {}, 0
        self._old_stages, self._new_stages = self._new_stages, {}

    def __len__(self) -> int:
        return len(self._new) or len(self._old)
