"""``weft completion``: the script that makes a shell complete weft's words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from weft.cli import say


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    bash: source <(weft completion bash)
    """
    maker = get_completion_class(shell)
    if maker is None:  # pragma: no cover - the three above are click's own
        raise click.UsageError(f"There is no completion for {shell}.")
    say.data(maker(ctx.find_root().command, {}, "weft", "_WEFT_COMPLETE").source())
