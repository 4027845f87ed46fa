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
    for each in closed:
        for edge in edges:
            caller = workload_of(edge["caller"])
            if _meets(each, edge, caller):
                seen[caller] = seen.get(caller, 0) + (edge["requests"] or edge["connections"])
    plain = not any(each["callers"] for each in closed)
    if plain and not seen:
        return None
    where = ", ".join(dict.fromkeys(f"{each['workload']}:{each['port']}" for each in closed[:SHOWN]))
    calls = ", ".join(f"{name} ({output.count(count, 'call')})" for name, count in sorted(seen.items())[:SHOWN])
    if plain:
        message = f"{source} refuses plaintext at {where}, and plaintext was seen there"
        remedy = "Find its callers before: weft edges --insecure"
    else:
        who = ", ".join(dict.fromkeys(caller for each in closed for caller in each["callers"][:SHOWN]))
        used = f"; seen calling: {calls}" if seen else "; none of them was seen calling"
        message = f"{source} allows some at {where}, so that others may call no more: {who}{used}"
        remedy = "Allow them too, or try it out before: istio.io/dry-run: 'true'"
    return Problem(code="WFT-1712", message=message, remedy=remedy, origin=Origin(source), severity=Severity.WARNING)


def _meets(closed: dict[str, Any], edge: dict[str, Any], caller: str) -> bool:
    if not closed["callers"]:
        return caller == PLAIN and workload_of(edge["callee"]) == closed["workload"] and edge["port"] == closed["port"]
    return caller in closed["callers"] and edge["callee"] in closed["services"]
