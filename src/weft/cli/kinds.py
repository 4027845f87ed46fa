"""Kinds of objects by every name that people type, and where their objects live in the API."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import click

from weft.api.kinds import KINDS, Kind, named
from weft.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

HABITS: Final = MappingProxyType({"gw": "gateway", "hr": "httproute", "eps": "endpointslice"})
"""Short names that people's fingers know and the Gateway API does not define."""


def path(kind: Kind, namespace: str = "", name: str = "") -> str:
    """The Kubernetes path of a collection (everywhere without ``namespace``) or, with ``name``, of one object."""
    version = kind.versions[0]
    root = f"/apis/{kind.group}/{version}" if kind.group else f"/api/{version}"
    inside = f"/namespaces/{namespace}" if namespace and kind.namespaced else ""
    return f"{root}{inside}/{kind.plural}" + (f"/{name}" if name else "")


def find(word: str) -> Kind:
    """The kind that a word means, with or without its group. Raises a usage error with the nearest."""
    wanted, _, group = word.lower().partition(".")
    for kind in named(HABITS.get(wanted, wanted)):
        if not group or group == kind.group:
            return kind
    known = [known for kind in KINDS for known in (kind.kind.lower(), kind.plural, *kind.short)]
    near = nearest(wanted, known)
    there = ", ".join(k.kind.lower() for k in KINDS)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Write TYPE/NAME, as in service/{wanted}. Types: {there}."
    raise click.UsageError(f"There is no type {word!r}. {hint}")


def split(words: Iterable[str]) -> list[tuple[Kind, str]]:
    """``httproute/cart svc/a``, ``httproute cart reviews`` or ``hr,svc`` as (kind, name); an empty name means all."""
    given = list(words)
    if not given:
        raise click.UsageError("Say a type, such as httproute, or TYPE/NAME. 'all' is every type.")
    if any("/" in word for word in given):
        return [_one(word) for word in given]
    kinds = list(KINDS) if given[0] == "all" else [find(word) for word in given[0].split(",") if word]
    return [(kind, name) for kind in kinds for name in (given[1:] or [""])]


def _one(word: str) -> tuple[Kind, str]:
    kind, _, name = word.partition("/")
    if not kind or not name or "/" in name:
        raise click.UsageError(f"{word!r} is not TYPE/NAME, such as httproute/cart.")
    return find(kind), name
