"""Which groups, versions and kinds there are. Source: Kubernetes API Concepts, "API discovery", unaggregated."""

from __future__ import annotations

from typing import Any, Final

from weft.api.kinds import KINDS, Kind

VERBS: Final = ["create", "delete", "get", "list", "patch", "update", "watch"]


def versions() -> dict[str, Any]:
    """``/api``."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups() -> dict[str, Any]:
    """``/apis``."""
    named = sorted({kind.group for kind in KINDS if kind.group})
    found = [group(name) for name in named]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def group(name: str) -> dict[str, Any] | None:
    """``/apis/GROUP``; None for a group that is not ours. The version that most kinds prefer is the preferred one."""
    kinds = [kind for kind in KINDS if kind.group == name]
    if not kinds or not name:
        return None
    spelled = dict.fromkeys(version for kind in kinds for version in kind.versions)
    found = [{"groupVersion": f"{name}/{version}", "version": version} for version in spelled]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": found, "preferredVersion": found[0]}


def resources(group_name: str, version: str) -> dict[str, Any] | None:
    """``/api/v1`` and ``/apis/GROUP/VERSION``; None for a version that is not ours."""
    kinds = [kind for kind in KINDS if kind.group == group_name and version in kind.versions]
    if not kinds:
        return None
    spelled = f"{group_name}/{version}" if group_name else version
    found = [resource for kind in kinds for resource in _resource(kind)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": spelled, "resources": found}


def _resource(kind: Kind) -> list[dict[str, Any]]:
    common = {"singularName": kind.kind.lower(), "namespaced": kind.namespaced, "kind": kind.kind}
    return [
        {"name": kind.plural, **common, "shortNames": list(kind.short), "verbs": VERBS},
        {"name": f"{kind.plural}/status", **common, "verbs": ["get"]},
    ]
