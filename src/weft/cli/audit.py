"""``weft audit``: who changed what, who was refused, and whether the log is whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from weft.cli import objects, options, output, say

if TYPE_CHECKING:
    from weft.cli.client import Client

KINDS: Final = ("change", "refusal", "authority", "join", "ban", "token", "operation")


@click.group("audit", invoke_without_command=True)
@click.option("--kind", type=click.Choice(KINDS), help="Only entries of this kind.")
@click.option("--since", default="", metavar="TIME", help="Only from this time on, as in 2026-01-31T12:00.")
@click.option(
    "--limit", default=20, show_default=True, metavar="N", type=click.IntRange(1, 10_000), help="The latest N."
)
@options.watch_option
@options.output_option()
@click.pass_context
def command(ctx: click.Context, kind: str | None, since: str, limit: int, watch: bool, form: str) -> None:
    """Show who changed what and who was refused.

    From a log that only grows, and whose gaps show.

    'weft audit verify' looks whether anything was taken out of it or changed.
    """
    if ctx.invoked_subcommand is not None:
        return
    control = options.control()
    query = {"kind": kind or "", "since": since, "limit": str(limit)}
    if watch:
        follow(control, query, form)
        return
    answer = control.get("/weft/v1/audit", query)
    output.show(form, answer, answer["items"], COLUMNS, lambda row: str(row["number"]))


def follow(control: Client, query: dict[str, str], form: str) -> None:
    """One line for each entry, until Ctrl-C."""
    for line in control.lines("/weft/v1/audit", {**query, "watch": "true"}):
        if form == "json":
            say.data(line.decode())
        else:
            say.data(text_of(json.loads(line)))


def text_of(entry: dict[str, Any]) -> str:
    """An entry in one line."""
    times = f" ({entry['times']} times)" if entry.get("times", 1) > 1 else ""
    return f"{entry['time'][:19]}Z  {entry['kind']:<9}  {entry['outcome']:<7}  {entry['who']}  {entry['what']}{times}"


@command.command("verify")
@options.output_option()
def verify(form: str) -> int:
    """Look at every entry: whether one is missing or was changed. Exit code 3: the log is not whole."""
    answer = options.control().get("/weft/v1/audit/verify")
    if form in ("table", "wide"):
        if answer["problem"]:
            say.data(f"NOT WHOLE: {answer['problem']} ({answer['place']})")
        else:
            older = f"; older ones than {answer['first']} were removed by age" if answer["first"] > 1 else ""
            say.data(f"OK, checked {output.count(answer['entries'], 'entry').replace('entrys', 'entries')}{older}")
    else:
        output.show(form, answer, [answer], (), lambda row: row["problem"] or "ok")
    return 3 if answer["problem"] else 0


def _what(row: output.Row) -> str:
    times = f" x{row['times']}" if row.get("times", 1) > 1 else ""
    return f"{row['what']}{times}"


COLUMNS: Final = (
    output.Column("AGE", lambda row: objects.elapsed(row["time"])),
    output.Column("KIND", lambda row: row["kind"]),
    output.Column("OUTCOME", lambda row: row["outcome"]),
    output.Column("WHO", lambda row: "file" if row["who"].startswith("file ") else row["who"]),
    output.Column("WHAT", _what),
    output.Column("TIME", lambda row: f"{row['time'][:19]}Z", wide=True),
    output.Column("NUMBER", lambda row: row["number"], wide=True),
    output.Column("FROM", lambda row: row.get("where"), wide=True),
    output.Column("DETAIL", lambda row: [f"{k}={v}" for k, v in (row.get("detail") or {}).items()], wide=True),
)
