"""``weft unban``: lift a ban."""

from __future__ import annotations

import click

from weft.cli import options, say


@click.command("unban")
@click.argument("who")
@options.namespace_option
def command(who: str, namespace: str) -> None:
    """Lift a ban.

    The identity gets SVIDs again, and may call what policies let it.

    WHO is as for 'weft ban'; 'weft ban' alone lists who is banned.
    """
    answer = options.control().json("DELETE", "/weft/v1/bans", {"who": who, "namespace": namespace})
    say.data("\n".join(f"{each} unbanned" for each in answer["lifted"]))
