"""The page docs/reference/cli.md, made from the commands themselves: ``python -m weft.cli.reference``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from weft.cli.main import CONTEXT_SETTINGS, VERBS, weft

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """# The command line

Made from the commands by `python -m weft.cli.reference`; a test compares the two.

Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 findings (`check`, `diff`,
`proxy status`, `proxy diff`, `can`, `identity`, `trust status`, `audit verify`), 130 on Ctrl-C. Every option has a
variable: `-n` of every verb is `WEFT_NAMESPACE`, `-o` is `WEFT_OUTPUT`, others are named after their verb, such as
`WEFT_UP_TIMEOUT`. `NO_COLOR` is honoured. A table that is piped has no colours; neither it nor `-o wide` is ever cut.

The output formats are `table`, `wide`, `json`, `yaml`, `name` and `jsonpath=`, which understands what kubectl's scripts
mostly use: `{.items[*].metadata.name}`, `[0]`, `['key']` and text between.
"""


def page() -> str:
    """The whole page as Markdown."""
    names = CONTEXT_SETTINGS["help_option_names"]
    context = click.Context(weft, info_name="weft", terminal_width=100, help_option_names=names)
    parts = [HEAD]
    for title, names in VERBS.items():
        parts.append(f"\n## {title}\n")
        for name in names:
            command = weft.get_command(context, name)
            if command is not None:
                parts.extend(_sections(command, name, context))
    return "".join(parts)


def _sections(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=100)
    yield f"\n### weft {context.command_path.removeprefix('weft ')}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            if found is not None:
                yield from _sections(found, inner, context)


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - its output is the page
