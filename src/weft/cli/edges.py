"""``weft edges``: who calls whom, and what of it is not secured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from weft.cli import objects, options, output, say
from weft.cli.client import Failed
from weft.names import workload_of

if TYPE_CHECKING:
    from weft.cli.client import Json

SECURE: Final = ("mTLS", "TLS")
PLAIN: Final = "plain"
"""The shape of a port that is reached without TLS, as control says it."""


@click.command("edges")
@click.argument("name", required=False)
@click.option("--insecure", is_flag=True, help="Only what is not mutual TLS throughout.")
@options.output_option()
def command(name: str | None, insecure: bool, form: str) -> None:
    """Show who calls whom, how often, and what is not secured.

    As the proxies of this machine have counted since each of them started. NAME leaves only the edges
    of one workload or service.
    """
    answer = options.agent().get("/v1/edges")
    rows = seen = explained(merged(answer["items"]))
    if name:
        rows = [row for row in rows if name in (_short(row["caller"]), _short(row["callee"]))]
    if insecure:
        rows = [row for row in rows if row["secured"] not in SECURE]
    output.show(form, {"items": rows}, rows, COLUMNS, lambda row: f"{row['caller']} {row['callee']}")
    if form in ("table", "wide"):
        for row in rows:
            if row["why"]:
                say.note(
                    f"{_short(row['caller'])} -> {_short(row['callee'])}:{row['port']} is not secured: {row['why']}"
                )
        say.note(summary(rows, seen))


def summary(rows: list[dict[str, Any]], seen: list[dict[str, Any]]) -> str:
    """``rows`` are those of ``seen`` that were asked for."""
    if not seen:
        return "Nobody has called anybody yet."
    plain = sum(row["secured"] not in SECURE for row in rows)
    if not rows:
        return f"None of the {output.count(len(seen), 'edge')} that were seen."
    hint = "" if plain else ": mode STRICT would refuse none of them"
    return f"{output.count(len(rows), 'edge')}, {plain} not secured{hint}"


def merged(items: Json) -> list[dict[str, Any]]:
    """Instances that take over from one another are one caller; counted since the oldest of them."""
    found: dict[tuple[str, str, int, str], dict[str, Any]] = {}
    for item in items:
        caller = workload_of(item["caller"])
        key = (caller, item["callee"], item["port"], item["secured"])
        if (row := found.get(key)) is None:
            found[key] = {**item, "caller": caller}
            continue
        row["requests"] += item["requests"]
        row["connections"] += item["connections"]
        row["since"] = min(row["since"], item["since"])
    return list(found.values())


def explained(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Why calls inside the mesh go in the clear, as control knows it: who stands behind the service, or which object says so."""
    from weft.agent.edges import IN_THE_CLEAR  # noqa: PLC0415 - start-up time

    if not any(row["why"] == IN_THE_CLEAR for row in rows):
        return rows
    try:
        items = options.control().get("/weft/v1/services")["items"]
    except Failed:
        return rows
    known = {
        (f"{item['name']}.{item['namespace']}", port["number"]): port["why"]
        for item in items
        for port in item["ports"]
        if port["shape"] == PLAIN
    }
    return [
        {**row, "why": known.get((row["callee"], row["port"]), row["why"])} if row["why"] == IN_THE_CLEAR else row
        for row in rows
    ]


def callers(callee: str) -> list[str]:
    """Who was seen to call ``namespace/name``, as the agent of this machine counts; empty where that cannot be asked."""
    namespace, _, name = callee.partition("/")
    try:
        items = options.agent().get("/v1/edges")["items"]
    except Failed:
        return []
    wanted = {callee, f"{name}.{namespace}"}
    found = {_short(workload_of(item["caller"])) for item in items if workload_of(item["callee"]) in wanted}
    return sorted(found)


def _short(name: str) -> str:
    return name.removeprefix("default/").removesuffix(".default")


COLUMNS: Final = (
    output.Column("CALLER", lambda row: _short(row["caller"])),
    output.Column("CALLEE", lambda row: f"{_short(row['callee'])}:{row['port']}"),
    output.Column("REQUESTS", lambda row: row["requests"] or None),
    output.Column("CONNECTIONS", lambda row: row["connections"]),
    output.Column("SECURED", lambda row: row["secured"]),
    output.Column("SINCE", lambda row: objects.elapsed(row["since"])),
    output.Column("WHY NOT", lambda row: row["why"], wide=True),
)
