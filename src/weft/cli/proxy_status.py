"""``weft proxy status``: what each proxy acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from weft.cli import options, output, proxy

if TYPE_CHECKING:
    from weft.cli.output import Row


def _state(row: Row) -> str:
    return str(row["state"]) if row["connected"] else "DISCONNECTED"


COLUMNS: tuple[output.Column, ...] = (
    output.Column("PROXY", lambda row: row["name"]),
    output.Column("TYPE", lambda row: row["type"]),
    output.Column("STATE", _state),
    output.Column("COUNT", lambda row: row.get("held")),
    output.Column("AGE", lambda row: output.age(row["seconds"])),
    output.Column("REASON", lambda row: row.get("reason")),
    output.Column("ASKED FOR", lambda row: "*" if row.get("wildcard") else row.get("subscribed"), wide=True),
    output.Column("STREAMS", lambda row: row["streams"], wide=True),
    output.Column("NODE", lambda row: row["node"], wide=True),
)


@click.command("status")
@click.argument("workload", required=False)
@options.namespace_option
@options.output_option()
def command(workload: str | None, namespace: str, form: str) -> int:
    """Show for each proxy and type whether it has what it should: SYNCED, STALE or REFUSED.

    Exit code 3: a proxy refused something.
    """
    control = options.control()
    answer = control.get("/weft/v1/proxies")
    items: list[dict[str, Any]] = answer["items"]
    if workload:
        node = proxy.node_of(control, workload, namespace)
        items = [item for item in items if item["node"] == node]
    rows = rows_of(items)
    output.show(form, {**answer, "items": items}, rows, COLUMNS, lambda row: f"{row['node']} {row['type']}")
    return 3 if any(row["state"] == "REFUSED" for row in rows) else 0


def rows_of(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each type of each proxy; one for a proxy that has none yet."""
    rows = []
    for item in items:
        own = {key: item[key] for key in ("node", "connected", "streams", "seconds", "state")}
        own["name"] = item["node"].rpartition("/")[2]
        types = [
            {**each, "type": each["type_url"].rpartition(".")[2], "reason": reason(each)} for each in item["types"]
        ]
        rows += [{**own, **each} for each in types or [{"type": ""}]]
    return rows


def reason(status: Row) -> str:
    """Why a type is not SYNCED: the proxy's own words for the first refusal, or the removals that wait for a word."""
    if status["refusals"]:
        first = status["refusals"][0]
        return f"{first['name']}: {first['detail']}"
    if status["withheld"]:
        return f"{status['withheld']} removals are withheld"
    return ""
