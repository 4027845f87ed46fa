"""``weft proxy status``: what each proxy acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from weft.cli import options, output, proxy, say

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


TYPES: Final = ("Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration", "VirtualHost")
LINE: tuple[output.Column, ...] = (
    output.Column("PROXY", lambda row: row["name"]),
    output.Column("CLUSTERS", lambda row: row["Cluster"]),
    output.Column("ENDPOINTS", lambda row: row["ClusterLoadAssignment"]),
    output.Column("LISTENERS", lambda row: row["Listener"]),
    output.Column("ROUTES", lambda row: row["RouteConfiguration"]),
    output.Column("HOSTS", lambda row: row["VirtualHost"]),
    output.Column("AGE", lambda row: row["age"]),
    output.Column("REASON", lambda row: row["reason"]),
)


@click.command("status")
@click.argument("workload", required=False)
@options.namespace_option
@options.output_option()
def command(workload: str | None, namespace: str, form: str) -> int:
    """Show whether each proxy has what it should.

    For each type of its configuration: SYNCED, STALE or REFUSED.

    One line for each proxy, or with WORKLOAD one for each type. Exit code 3: a proxy refused something.
    """
    control = options.control()
    answer = control.get("/weft/v1/proxies")
    items: list[dict[str, Any]] = answer["items"]
    if workload:
        node = proxy.node_of(control, workload, namespace)
        items = [item for item in items if item["node"] == node]
    rows = rows_of(items)
    if form == "table" and not workload:
        lines = [one_line(item, [row for row in rows if row["node"] == item["node"]]) for item in items]
        reasons = any(line["reason"] for line in lines)
        say.data(output.table(lines, LINE if reasons else LINE[:-1]))
    else:
        output.show(form, {**answer, "items": items}, rows, COLUMNS, lambda row: f"{row['node']} {row['type']}")
    return 3 if any(row["state"] == "REFUSED" for row in rows) else 0


def one_line(item: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A proxy in one line: the state of each type, and since when the latest of them is in its own."""
    states = {row["type"]: _state(row) for row in rows}
    return {
        "name": item["node"].rpartition("/")[2],
        **{kind: states.get(kind, "" if item["connected"] else "DISCONNECTED") for kind in TYPES},
        "age": output.age(min(row["seconds"] for row in rows)),
        "reason": next((row["reason"] for row in rows if row.get("reason")), ""),
    }


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
