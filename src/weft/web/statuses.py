"""Statuses as objects show them: what the compiler says, with the time at which each condition last changed.

A status is computed and never stored: it is as true as the build that it comes from. Times are those of this process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weft.model.status import Status, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from weft.values import Ref
    from weft.web.engine import Engine


class Statuses:
    """Remembers, per object, what was last shown."""

    def __init__(self, engine: Engine, timestamp: Callable[[], str]) -> None:
        self._engine, self._timestamp = engine, timestamp
        self._shown: dict[Ref, tuple[Status, dict[str, Any]]] = {}

    def view(self) -> Callable[[Ref], dict[str, Any] | None]:
        """The ``status`` of each object as it is said now; None when nothing is said of it. One view for one answer."""
        statuses = self._engine.statuses()
        return lambda ref: self._of(ref, statuses.get(ref))

    def _of(self, ref: Ref, said: Status | None) -> dict[str, Any] | None:
        if said is None:
            self._shown.pop(ref, None)
            return None
        shown = self._shown.get(ref)
        if shown is not None and shown[0] == said:
            return shown[1]
        rendered = render(said, self._timestamp())
        if shown is not None:
            _keep_times(shown[1], rendered)
        self._shown[ref] = (said, rendered)
        return rendered


def _keep_times(old: dict[str, Any], new: dict[str, Any]) -> None:
    """A condition whose status stayed keeps its ``lastTransitionTime``."""
    known = dict(_conditions(old))
    for key, condition in _conditions(new):
        before = known.get(key)
        if before is not None and before["status"] == condition["status"]:
            condition["lastTransitionTime"] = before["lastTransitionTime"]


def _conditions(rendered: dict[str, Any]) -> list[tuple[tuple[str, str], dict[str, Any]]]:
    """Every condition, by what it is said about and its type."""
    groups = [("", rendered.get("conditions", []))]
    groups += [(str(each["name"]), each["conditions"]) for each in rendered.get("listeners", [])]
    groups += [(str(sorted(each["parentRef"].items())), each["conditions"]) for each in rendered.get("parents", [])]
    return [((about, condition["type"]), condition) for about, conditions in groups for condition in conditions]
