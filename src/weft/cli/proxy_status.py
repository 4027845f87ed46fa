"""``weft proxy status``: what each proxy acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from weft.cli import objects, options, output, proxy

if TYPE_CHECKING:
    from weft.cli.output import Row


def _state(row: Row) -> str:
    if not row["connected"]:
        return "DISCONNECTED"
    return str(row["state"])


COLUMNS: tuple[output.Column, ...] = (
    output.Column("PROXY", lambda row: row["name"]),
    output.Column("TYPE", lambda row: row["type"]),
    output.Column("STATE", _state),
    output.Column("COUNT", lambda row: row.get("count")),
    output.Column("AGE", lambda row: objects.elapsed(row.get("since") or "")),
    output.Column("REASON", lambda row: row.get("reason")),
    output.Column("VERSION", lambda row: row.get("version"), wide=True),
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
        own = {"node": item["node"], "name": item["node"].rpartition("/")[2], "connected": item["connected"]}
        rows += [{**own, **each} for each in item["types"] or [{"type": "", "state": "STALE"}]]
    return rows
