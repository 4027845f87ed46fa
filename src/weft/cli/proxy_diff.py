"""``weft proxy diff``: what a proxy should run against what it runs."""

from __future__ import annotations

import click

from weft.cli import options, output, proxy, say
from weft.cli.proxy_config import running
from weft.explain import dump

COLUMNS: tuple[output.Column, ...] = (
    output.Column("STATE", lambda row: row["state"]),
    output.Column("TYPE", lambda row: row["type"]),
    output.Column("NAME", lambda row: row["name"]),
    output.Column("FROM", lambda row: row["source"]),
)


@click.command("diff")
@click.argument("workload")
@options.namespace_option
@options.output_option()
def command(workload: str, namespace: str, form: str) -> int:
    """Compare what the control plane wants with what the proxy runs. Exit code 3: they differ."""
    control = options.control()
    node = proxy.node_of(control, workload, namespace)
    wanted = dump.wanted(control.get(f"/weft/v1/proxies/{node}/resources", {"state": "wanted"})["items"])
    rows = [
        {"state": each.state, "type": each.type, "name": each.name, "source": each.source}
        for each in dump.compare(wanted, dump.running(running(node)))
    ]
    if not rows and form in ("table", "wide"):
        say.note(f"OK, {workload} runs what it should: {len(wanted)} resources compared.")
        return 0
    output.show(form, {"items": rows}, rows, COLUMNS, lambda row: f"{row['type']}/{row['name']}")
    return 3 if rows else 0
