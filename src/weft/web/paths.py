"""Paths of objects, as Kubernetes spells them: which kind, which version, which namespace, which name."""

from __future__ import annotations

from typing import Final

import msgspec

from weft.api.kinds import KINDS, Kind
from weft.errors import nearest
from weft.values import Ref


class Target(msgspec.Struct, frozen=True):
    """What a path names: objects of one kind, in one namespace or all (empty), or one of them."""

    kind: Kind
    version: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def ref(self) -> Ref:
        return Ref(self.kind.group, self.kind.kind, self.namespace, self.name)

    @property
    def api_version(self) -> str:
        return f"{self.kind.group}/{self.version}" if self.kind.group else self.version


_BY_PATH: Final = {(kind.group, version, kind.plural): kind for kind in KINDS for version in kind.versions}


def parse(path: str) -> Target | None:
    """The target of ``/api/v1/...`` or ``/apis/GROUP/VERSION/...``; None for a path that names none."""
    parts = path.strip("/").split("/")
    if not all(parts):
        return None
    if parts[0] == "api" and len(parts) > 2:
        return _target("", parts[1], parts[2:])
    if parts[0] == "apis" and len(parts) > 3:
        return _target(parts[1], parts[2], parts[3:])
    return None


def _target(group: str, version: str, rest: list[str]) -> Target | None:
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and (group, version, rest[2]) in _BY_PATH:
        namespace, rest = rest[1], rest[2:]
    kind = _BY_PATH.get((group, version, rest[0]))
    if kind is None or len(rest) > 3 or (namespace and not kind.namespaced):
        return None
    name, subresource = (*rest[1:], "", "")[:2]
    if subresource not in ("", "status") or (kind.namespaced and name and not namespace):
        return None
    return Target(kind, version, namespace, name, subresource)


def near(path: str) -> tuple[str, ...]:
    """Paths that a mistyped one most likely meant."""
    known = tuple(prefix(kind, version) + f"/{kind.plural}" for (_, version, _), kind in _BY_PATH.items())
    return nearest(path.rstrip("/"), (*known, *OTHERS))


def prefix(kind: Kind, version: str) -> str:
    return f"/apis/{kind.group}/{version}" if kind.group else f"/api/{version}"


OTHERS: Final = (
    "/api",
    "/apis",
    "/livez",
    "/metrics",
    "/openapi/v3",
    "/readyz",
    "/version",
    "/weft/v1/apply",
    "/weft/v1/audit",
    "/weft/v1/bans",
    "/weft/v1/can",
    "/weft/v1/diff",
    "/weft/v1/history",
    "/weft/v1/hosts",
    "/weft/v1/names",
    "/weft/v1/placements",
    "/weft/v1/problems",
    "/weft/v1/proxies",
    "/weft/v1/rollback",
    "/weft/v1/tokens",
)
