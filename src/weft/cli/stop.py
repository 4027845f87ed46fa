"""``weft stop``: end instances and keep them ended."""

from __future__ import annotations

import click

from weft.cli import options, processes, say
from weft.names import workload_of


@click.command("stop")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@options.namespace_option
def command(names: tuple[str, ...], namespace: str) -> None:
    """Stop instances.

    NAME is one, or all of a version or a service. They are drained first, so that no request is
    lost, and stay stopped until 'weft restart'.
    """
    act(names, namespace, "stop", "stopped")


def act(names: tuple[str, ...], namespace: str, verb: str, done: str) -> None:
    """Ask the agent to do something with every instance that the names mean. Nothing is done when a name means none."""
    agent = options.agent()
    found = processes.items(agent)
    chosen = {item["name"]: item for name in names for item in processes.matching(found, name, namespace)}
    for name, item in chosen.items():
        if name != (workload := workload_of(name)) and workload in chosen:
            continue  # it goes with the one that it replaces
        order = "start" if verb == "restart" and item["state"] == "stopped" else verb
        agent.json("POST", f"/v1/processes/{namespace}/{name}/{order}", timeout=None)
        say.data(f"{name} {done}")
