"""Reading objects from the API, and the table that each kind is shown as."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from weft.cli import kinds
from weft.cli.client import Client, Refused
from weft.cli.output import Column, Row, age

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from weft.api.kinds import Kind


def fetch(client: Client, wanted: Iterable[tuple[Kind, str]], namespace: str, label: str = "") -> list[dict[str, Any]]:
    """The objects, one by one or by kind. ``namespace`` empty: everywhere. ``Refused`` for a name that is not there."""
    found: list[dict[str, Any]] = []
    for kind, name in wanted:
        if name:
            found.append(client.get(kinds.path(kind, namespace, name)))
            continue
        answer = client.get(kinds.path(kind, namespace), {"labelSelector": label})
        for item in answer.get("items", []):
            item.setdefault("apiVersion", kind.api_version)
            item.setdefault("kind", kind.kind)
            found.append(item)
    return found


def exists(client: Client, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
    """The object, or None."""
    try:
        found: dict[str, Any] = client.get(kinds.path(kind, namespace, name))
    except Refused as refused:
        if refused.status == 404:
            return None
        raise
    return found


def name_of(item: Row) -> str:
    """``httproute/cart``, which every verb takes back."""
    return f"{item['kind'].lower()}/{item['metadata']['name']}"


def since(item: Row) -> str:
    """The age of an object, from its ``creationTimestamp``."""
    return elapsed(item["metadata"].get("creationTimestamp", ""))


def elapsed(time: str | float) -> str:
    """How long ago a time was: RFC 3339 text, or seconds since 1970. Empty for none."""
    if not time:
        return ""
    then = datetime.fromisoformat(time) if isinstance(time, str) else datetime.fromtimestamp(time, UTC)
    return age((datetime.now(UTC) - then).total_seconds())


def until(time: str | float) -> str:
    """How long it is until a time, as ``elapsed`` reads it; ``over`` when it has passed."""
    then = datetime.fromisoformat(time) if isinstance(time, str) else datetime.fromtimestamp(time, UTC)
    seconds = (then - datetime.now(UTC)).total_seconds()
    return age(seconds) if seconds > 0 else "over"


def condition(item: Row, kind: str) -> str:
    """A condition's status, with its reason where it is not True. Of a route's parents the worst counts."""
    status = item.get("status") or {}
    sets = [status, *(status.get("parents") or [])]
    found = [each for part in sets for each in part.get("conditions") or [] if each["type"] == kind]
    bad = [each for each in found if each["status"] != "True"]
    if bad:
        return f"{bad[0]['status']} ({bad[0].get('reason', '')})"
    return "True" if found else ""


def _parents(item: Row) -> list[str]:
    refs = item.get("spec", {}).get("parentRefs") or []
    return [f"{ref.get('kind', 'Gateway').lower()}/{ref['name']}" for ref in refs]


def _ports(item: Row) -> list[str]:
    ports = item.get("spec", {}).get("ports") or []
    return [f"{port['port']}" + (f" {port['name']}" if port.get("name") else "") for port in ports]


def urls(item: Row) -> list[str]:
    """Where a Gateway is reached; its port may be another one than its listener's."""
    addresses = (item.get("status") or {}).get("addresses") or []
    return [address["value"] for address in addresses if address["type"] == "weft.dev/url"]


def _action(item: Row) -> str:
    """A policy's action; one in dry run says so, because it decides nothing."""
    action = str(item.get("spec", {}).get("action") or "ALLOW")
    dry = (item["metadata"].get("annotations") or {}).get("istio.io/dry-run") == "true"
    return f"{action} (dry run)" if dry else action


def _holds_for(item: Row) -> list[str]:
    """Labels or targets that a policy is for; ``all`` of its namespace, or of the mesh from a root namespace."""
    spec = item.get("spec", {})
    labels = [f"{key}={value}" for key, value in ((spec.get("selector") or {}).get("matchLabels") or {}).items()]
    targets = [each for each in (spec.get("targetRef"), *(spec.get("targetRefs") or [])) if each]
    return labels + [f"{each['kind'].lower()}/{each['name']}" for each in targets] or ["all"]


def _expires(item: Row) -> str:
    time = (item["metadata"].get("annotations") or {}).get("weft.dev/expires", "")
    return until(time) if time else ""


def _spec(name: str) -> Column:
    return Column(name.upper(), lambda item: item.get("spec", {}).get(name))


AGE: Final = Column("AGE", since)
NAME: Final = Column("NAME", lambda item: item["metadata"]["name"])
NAMESPACE: Final = Column("NAMESPACE", lambda item: item["metadata"].get("namespace"))

COLUMNS: Final = MappingProxyType(
    {
        "Service": (
            Column("PORTS", _ports),
            Column(
                "SELECTOR",
                lambda item: [f"{k}={v}" for k, v in (item["spec"].get("selector") or {}).items()],
                wide=True,
            ),
        ),
        "HTTPRoute": (
            _spec("hostnames"),
            Column("PARENTS", _parents),
            Column("RULES", lambda item: len(item.get("spec", {}).get("rules") or [])),
            Column("ACCEPTED", lambda item: condition(item, "Accepted")),
            Column("RESOLVED", lambda item: condition(item, "ResolvedRefs"), wide=True),
        ),
        "Gateway": (
            Column("CLASS", lambda item: item.get("spec", {}).get("gatewayClassName")),
            Column("ADDRESS", urls),
            Column(
                "PORTS", lambda item: [each["port"] for each in item.get("spec", {}).get("listeners") or []], wide=True
            ),
            Column("PROGRAMMED", lambda item: condition(item, "Programmed")),
        ),
        "GatewayClass": (
            Column("CONTROLLER", lambda item: item.get("spec", {}).get("controllerName")),
            Column("ACCEPTED", lambda item: condition(item, "Accepted")),
        ),
        "AuthorizationPolicy": (
            Column("ACTION", _action),
            Column("FOR", _holds_for),
            Column("RULES", lambda item: len(item.get("spec", {}).get("rules") or [])),
            Column("EXPIRES IN", _expires),
        ),
        "PeerAuthentication": (
            Column("MODE", lambda item: (item.get("spec", {}).get("mtls") or {}).get("mode") or "UNSET"),
            Column("FOR", _holds_for),
            Column(
                "PORTS",
                lambda item: [
                    f"{port}={each['mode']}" for port, each in (item["spec"].get("portLevelMtls") or {}).items()
                ],
            ),
        ),
        "RequestAuthentication": (
            Column("ISSUERS", lambda item: [each["issuer"] for each in item.get("spec", {}).get("jwtRules") or []]),
            Column("FOR", _holds_for),
        ),
        "Mesh": (Column("SERVICES", lambda item: sorted(item.get("spec", {}).get("services") or {})),),
    }
)
"""The columns of a kind between its name and its age."""


def columns(kind: str, *, everywhere: bool) -> Sequence[Column]:
    return (*((NAMESPACE,) if everywhere else ()), NAME, *COLUMNS.get(kind, ()), AGE)
