"""``weft proxy config``: what a proxy runs, each row with the object that it comes from."""

from __future__ import annotations

import click

from weft.cli import options, output, proxy
from weft.explain import dump

KINDS = ("listeners", "routes", "clusters", "endpoints", "policies", "bootstrap", "all")

COLUMNS: tuple[output.Column, ...] = (
    output.Column("TYPE", lambda row: row["type"]),
    output.Column("NAME", lambda row: row["name"]),
    output.Column("DETAIL", lambda row: row["detail"]),
    output.Column("FROM", lambda row: row["source"]),
    output.Column("VERSION", lambda row: row["version"], wide=True),
)


@click.command("config")
@click.argument("workload")
@click.argument("what", type=click.Choice(KINDS), default="all")
@options.namespace_option
@click.option("--wanted", is_flag=True, help="What it should run, from the control plane, instead of what it runs.")
@options.output_option()
def command(workload: str, what: str, namespace: str, wanted: bool, form: str) -> None:
    """Show what a proxy runs, and which object it comes from.

    Its listeners, routes, clusters, endpoints, policies or bootstrap.
    """
    control = options.control()
    node = proxy.node_of(control, workload, namespace)
    if wanted:
        if what == "bootstrap":
            raise click.UsageError("The bootstrap is made by the agent; leave out --wanted.")
        items = control.get(f"/weft/v1/proxies/{node}/resources", {"state": "wanted"})["items"]
        found = dump.wanted(items)
    else:
        found = dump.running(running(node))
    chosen = [each for each in found if what in ("all", each.kind) or (what == "policies" and _is_guarded(each))]
    if what == "bootstrap" and form in ("table", "wide"):
        form = "yaml"
    if form in ("table", "wide"):
        chosen = [row for each in chosen for row in (_rules(each) if what == "policies" else dump.expanded(each))]
    rows = [
        {"type": each.type, "name": each.name, "detail": each.detail, "source": each.source, "version": each.version}
        for each in chosen
    ]
    if what != "all" and form == "table":
        output.show(form, None, rows, COLUMNS[1:], str)
        return
    value = {"items": [{**row, "resource": each.body} for row, each in zip(rows, chosen, strict=True)]}
    output.show(form, value, rows, COLUMNS, lambda row: f"{row['type']}/{row['name']}")


def _is_guarded(item: dump.Item) -> bool:
    """Where requests are not read the rules stand in the listener itself."""
    return item.kind == "listeners" and any(dump.rules(item))


def _rules(item: dump.Item) -> list[dump.Item]:
    return list(dump.rules(item)) or [item]


def running(node: str) -> dump.Json:
    """Envoy's own dump, through the agent."""
    _, namespace, name = node.split("/", 2)
    return options.agent().get(f"/v1/proxies/{namespace}/{name}/admin/config_dump", {"include_eds": "true"})
