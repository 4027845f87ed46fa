"""``weft proxy log``: what a proxy writes, and how much."""

from __future__ import annotations

import click

from weft.cli import logs, options, processes, say

PROXIED = ("app", "gateway", "egress")
LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")


@click.command("log")
@click.argument("workload")
@options.namespace_option
@click.option("--level", type=click.Choice(LEVELS), help="Make it write more or less from now on.")
@click.option("-f", "--follow", is_flag=True, help="Go on, until Ctrl-C.")
@click.option("--lines", default=100, show_default=True, metavar="N", type=click.IntRange(0), help="The last N lines.")
def command(workload: str, namespace: str, level: str | None, follow: bool, lines: int) -> None:
    """Show a proxy's log, or change how much it writes."""
    agent = options.agent()
    for item in processes.matching(processes.items(agent, PROXIED), workload, namespace):
        name = item["name"]
        if level:
            agent.send("POST", f"/v1/proxies/{namespace}/{name}/admin/logging", {"level": level}).read()
            say.note(f"The proxy of {name} writes {level} and worse.")
            continue
        query = {"proxy": "true", "lines": str(lines), "follow": "true" if follow else ""}
        logs.show(agent, f"{namespace}/{name}", query, "")
