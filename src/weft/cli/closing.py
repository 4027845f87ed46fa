"""Whom a change shuts out, as ``apply`` and ``diff`` say it: what the control plane computed, and who was seen calling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weft.cli import options, output, say
from weft.cli.client import Failed
from weft.errors import Problem, Severity
from weft.names import workload_of
from weft.values import Origin

if TYPE_CHECKING:
    from weft.cli.client import Json

PLAIN = "(no identity)"
SHOWN = 5
DEFAULT = "Mesh"
"""What the control plane calls the source where no policy but the mesh's default closes a port."""


def warn(answer: Json) -> None:
    """A warning for each policy that newly shuts somebody out."""
    found: list[dict[str, Any]] = answer.get("closed") or []
    if not found:
        return
    try:
        edges: list[dict[str, Any]] = options.agent().get("/v1/edges")["items"]
    except Failed:
        edges = []
    for source in dict.fromkeys(each["source"] for each in found):
        if problem := of(source, [each for each in found if each["source"] == source], edges):
            say.problem(problem)


def of(source: str, closed: list[dict[str, Any]], edges: list[dict[str, Any]]) -> Problem | None:
    """None for STRICT where no plaintext was ever seen: nobody is shut out by it."""
    seen: dict[str, int] = {}
    for edge in edges:
        caller = workload_of(edge["caller"])
        if any(_meets(each, edge, caller) for each in closed):
            seen[caller] = seen.get(caller, 0) + (edge["requests"] or edge["connections"])
    plain = not any(each["callers"] for each in closed)
    if plain and not seen:
        return None
    places = dict.fromkeys(widest(each["services"], each["workload"]) for each in closed)
    where = ", ".join(list(places)[:SHOWN]) + (" and others" if len(places) > SHOWN else "")
    calls = ", ".join(f"{name} ({output.count(count, 'call')} seen)" for name, count in sorted(seen.items())[:SHOWN])
    field = ""
    if plain:
        message = f"{source} refuses plaintext at {where}, and plaintext was seen there"
        remedy = "Find its callers before: weft edges --insecure"
    else:
        unseen = len({caller for each in closed for caller in each["callers"]} - seen.keys())
        rest = (
            f"{output.count(unseen, 'workload')} that {'was' if unseen == 1 else 'were'} not seen calling"
            if unseen
            else ""
        )
        shut = " and ".join(part for part in (calls, rest) if part)
        message = f"{source} lets nobody but those that it names call {where}, and so shuts out {shut}"
        remedy = "Allow them too, or try it out before: istio.io/dry-run: 'true'"
        if source == DEFAULT:
            field = "spec.security.default"
            message = f"the mesh denies by default, and no policy lets anybody call {where}; that shuts out {shut}"
            remedy = "Write ALLOW policies for those who need it: weft allow CALLER CALLEE"
    origin, severity = Origin(source), Severity.WARNING
    return Problem(code="WFT-1712", message=message, remedy=remedy, origin=origin, field=field, severity=severity)


def widest(services: list[str], workload: str) -> str:
    """The service that a workload is called by: ``reviews.default``, and not ``reviews-v1.default`` besides."""
    return min(services, key=lambda name: (len(name), name), default=workload)


def _meets(closed: dict[str, Any], edge: dict[str, Any], caller: str) -> bool:
    if not closed["callers"]:
        return caller == PLAIN and workload_of(edge["callee"]) == closed["workload"] and edge["port"] == closed["port"]
    return caller in closed["callers"] and edge["callee"] in closed["services"]
