"""``weft restart``: end instances and start them again."""

from __future__ import annotations

import click

from weft.cli import options
from weft.cli.stop import act


@click.command("restart")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@options.namespace_option
def command(names: tuple[str, ...], namespace: str) -> None:
    """Restart instances, stopped ones too.

    NAME is one, or all of a version or a service."""
    act(names, namespace, "restart", "restarted")
