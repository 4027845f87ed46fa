"""``weft history``: who changed what, when."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from weft.cli import kinds, objects, options, output, results

if TYPE_CHECKING:
    from weft.api.kinds import Kind


@click.command("history")
@click.argument("what", nargs=-1, metavar="[TYPE/NAME]")
@options.namespace_option
@click.option(
    "--limit", default=20, show_default=True, metavar="N", type=click.IntRange(1), help="The latest N changes."
)
@options.output_option()
def command(what: tuple[str, ...], namespace: str, limit: int, form: str) -> None:
    """Show who changed what, and when.

    Of everything, or of one object. 'weft rollback N' goes back to one.
    """
    query = {"ref": ref_path(what, namespace)} if what else {}
    answer = options.control().get("/weft/v1/history", query)
    items = answer["items"][-limit:]
    output.show(form, {**answer, "items": items}, items, COLUMNS, lambda row: str(row["revision"]))


def ref_path(what: tuple[str, ...], namespace: str) -> str:
    """``HTTPRoute/shop/cart``, as provenance spells it."""
    wanted = kinds.split(what)
    if len(wanted) != 1 or not wanted[0][1]:
        raise click.UsageError("Say one object: TYPE/NAME.")
    kind: Kind = wanted[0][0]
    return "/".join(part for part in (kind.kind, namespace if kind.namespaced else "", wanted[0][1]) if part)


def nearby(owner: str) -> str:
    """The owner; a file below this folder without the folder's path."""
    return owner.replace(f"file:{Path.cwd()}/", "file:", 1)


COLUMNS = (
    output.Column("REVISION", lambda row: row["revision"]),
    output.Column("AGE", lambda row: objects.elapsed(row["time"])),
    output.Column("OWNER", lambda row: nearby(row["owner"])),
    output.Column("WHO", lambda row: "file" if row["who"].startswith("file ") else row["who"]),
    output.Column("WHAT", lambda row: row["verb"]),
    output.Column("OBJECT", lambda row: results.name_of(row["ref"])),
    output.Column("TIME", lambda row: row["time"], wide=True),
)
