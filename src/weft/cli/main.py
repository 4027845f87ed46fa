"""The ``weft`` command: one verb per module, loaded when it is used.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 findings, 130 on Ctrl-C. Data goes to stdout, talk to stderr.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

import click

from weft.cli import say
from weft.cli.client import Failed
from weft.errors import nearest

VERBS: Final = MappingProxyType(
    {
        "Run": ("up", "join", "down", "run", "ps", "logs", "stop", "restart", "exec"),
        "Configure": ("apply", "get", "describe", "edit", "delete", "diff", "history", "rollback", "route"),
        "Understand": ("check", "proxy"),
        "Secure": ("can", "authz", "identity", "edges", "allow", "ban", "unban", "trust", "token", "audit"),
        "About weft": ("version", "completion"),
    }
)
"""Every verb, grouped as ``weft --help`` shows it. A verb stands in the module of its name."""


class Verbs(click.Group):
    """A group whose verbs are modules, imported when asked for; a misspelt verb is answered with the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for names in VERBS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"weft.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in (known := self.list_commands(ctx)):
            near = nearest(args[0], known)
            hint = f" Did you mean {' or '.join(near)}?" if near else " See: weft --help"
            raise click.UsageError(f"There is no verb {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in VERBS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl([(name, found.get_short_help_str(66)) for name, found in commands if found])


CONTEXT_SETTINGS: Final[dict[str, Any]] = {
    "help_option_names": ["-h", "--help"],
    "auto_envvar_prefix": "WEFT",
    "max_content_width": 100,
}


@click.group(cls=Verbs, context_settings=CONTEXT_SETTINGS)
@click.option("--state-dir", metavar="DIR", envvar="WEFT_STATE_DIR", help="Where weft keeps what lasts.")
@click.option("--runtime-dir", metavar="DIR", envvar="WEFT_RUNTIME_DIR", help="Where weft keeps its sockets.")
@click.option(
    "--context",
    metavar="URL|DIR",
    envvar="WEFT_CONTEXT",
    help="Which weft to speak to: http://127.0.0.1:PORT of its API (WEFT_LISTEN) with the token in WEFT_TOKEN,"
    " or its runtime directory.",
)
@click.version_option(package_name="weft", message="weft %(version)s")
def weft(state_dir: str | None, runtime_dir: str | None, context: str | None) -> None:
    """A service mesh around the real Envoy.

    Start with: weft up -f mesh.yaml
    """
    # The environment is how the agent, the control plane and everything below them learn it too.
    if state_dir:
        os.environ["WEFT_STATE_DIR"] = state_dir
    if runtime_dir:
        os.environ["WEFT_RUNTIME_DIR"] = runtime_dir
    if context:
        os.environ["WEFT_CONTEXT" if "://" in context else "WEFT_RUNTIME_DIR"] = context


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code; never raises for what a user or an absent server can cause.

    A reader of stdout that goes away (head) ends it silently, with status 1; that is click's doing.
    """
    try:
        answer = weft.main(arguments, prog_name="weft", standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        error.show(sys.stderr)
        return error.exit_code
    except Failed as failure:
        for problem in failure.problems:
            say.problem(problem)
        return failure.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    return answer if isinstance(answer, int) else 0
