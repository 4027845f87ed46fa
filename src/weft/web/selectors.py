"""Label selectors, and field selectors for names and namespaces. Source: Kubernetes, "Labels and Selectors"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,315}[A-Za-z0-9])?"
_VALUE: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?"
_SET: Final = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL: Final = re.compile(rf"({_KEY})\s*(==|!=|=)\s*({_VALUE})")
_EXISTS: Final = re.compile(rf"(!?)\s*({_KEY})")
_ONE_VALUE: Final = re.compile(_VALUE)
FIELDS: Final = ("metadata.name", "metadata.namespace")


class Requirement(msgspec.Struct, frozen=True):
    """``in`` (with the key present), ``notin`` (or absent), ``exists``, ``absent``."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, object]) -> bool:
        match self.operator:
            case "in":
                return labels.get(self.key) in self.values
            case "notin":
                return labels.get(self.key) not in self.values
            case "exists":
                return self.key in labels
            case _:
                return self.key not in labels


def parse(text: str) -> tuple[Requirement, ...] | str:
    """The requirements, which must all hold; or the part that is not a requirement."""
    parts = [part.strip() for part in re.split(r",(?![^()]*\))", text)] if text.strip() else []
    found: list[Requirement] = []
    for part in parts:
        requirement = _requirement(part)
        if requirement is None:
            return part
        found.append(requirement)
    return tuple(found)


def _requirement(text: str) -> Requirement | None:
    if match := _SET.fullmatch(text):
        values = tuple(value.strip() for value in match[3].split(","))
        return Requirement(match[1], match[2], values) if all(map(_ONE_VALUE.fullmatch, values)) else None
    if match := _EQUAL.fullmatch(text):
        return Requirement(match[1], "notin" if match[2] == "!=" else "in", (match[3],))
    if match := _EXISTS.fullmatch(text):
        return Requirement(match[2], "absent" if match[1] else "exists")
    return None


def matches(requirements: tuple[Requirement, ...], document: Mapping[str, Any]) -> bool:
    """Whether an object's labels satisfy all."""
    labels = document.get("metadata", {}).get("labels") or {}
    return all(requirement.holds(labels) for requirement in requirements)
