"""``weft proxy confirm``: let a proxy lose what the mass-removal guard keeps for it."""

from __future__ import annotations

import click

from weft.cli import options, output, proxy, say


@click.command("confirm")
@click.argument("workload")
@options.namespace_option
def command(workload: str, namespace: str) -> None:
    """Let a proxy lose most of its configuration at once.

    A proxy keeps what would go in one sweep (WFT-1404), because an empty or half-read source looks the
    same. Say with this that it is meant.
    """
    control = options.control()
    node = proxy.node_of(control, workload, namespace)
    count = control.json("POST", f"/weft/v1/proxies/{node}/confirm")["removed"]
    name = node.rpartition("/")[2]
    if count:
        say.note(f"{name} loses {output.count(count, 'resource')}.")
    else:
        say.note(f"Nothing is kept back for {name}.")
