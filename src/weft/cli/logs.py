"""``weft logs``: what an application, or its proxy, wrote."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import click

from weft.cli import options, processes, say

if TYPE_CHECKING:
    from weft.cli.client import Client

SYSTEM = ("weft-agent", "weft-control", "weft-resolver", "weft-fallback")


@click.command("logs")
@click.argument("name")
@options.namespace_option
@click.option("-f", "--follow", is_flag=True, help="Go on, until Ctrl-C.")
@click.option("--proxy", is_flag=True, help="The log of its proxy.")
@click.option("--lines", default=100, show_default=True, metavar="N", type=click.IntRange(0), help="The last N lines.")
def command(name: str, namespace: str, follow: bool, proxy: bool, lines: int) -> None:
    """Show what applications wrote.

    NAME is an instance, or all instances of a version or a service. weft's own logs are called
    weft-agent and weft-control.
    """
    agent = options.agent()
    query = {"follow": "true" if follow else "", "proxy": "true" if proxy else "", "lines": str(lines)}
    if name in SYSTEM:
        show(agent, name.removeprefix("weft-"), query, "")
        return
    found = [item["name"] for item in processes.matching(processes.items(agent), name, namespace)]
    if follow:
        follow_all(agent, found, namespace, query)
        return
    for each in found:
        show(agent, f"{namespace}/{each}", query, prefix(each, found))


def prefix(name: str, names: list[str]) -> str:
    """What stands before each line where several instances speak."""
    return f"{name:<{max(len(each) for each in names)}} | " if len(names) > 1 else ""


def show(agent: Client, name: str, query: dict[str, str], before: str) -> None:
    """Copy the lines of one log (``namespace/name``) to stdout. They are the application's bytes, maybe not UTF-8."""
    for line in agent.lines(f"/v1/processes/{name}/logs", query):
        say.data(before + line.decode(errors="replace"))


def follow_all(agent: Client, names: list[str], namespace: str, query: dict[str, str]) -> None:
    """Follow several logs at once, until the last one ends or Ctrl-C."""
    threads = [
        threading.Thread(target=show, args=(agent, f"{namespace}/{name}", query, prefix(name, names)), daemon=True)
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
