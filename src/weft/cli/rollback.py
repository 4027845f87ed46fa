"""``weft rollback``: make things what they were."""

from __future__ import annotations

import click

from weft.cli import options, results
from weft.cli.history import ref_path


@click.command("rollback")
@click.argument("revision", type=click.IntRange(0))
@click.argument("what", nargs=-1, metavar="[TYPE/NAME]")
@options.namespace_option
@options.dry_run_option
def command(revision: int, what: tuple[str, ...], namespace: str, dry_run: bool) -> int:
    """Make everything, or one object, what it was.

    REVISION is one of those that weft history shows.
    The past is not rewritten: going back is a new revision.
    """
    query = {
        "revision": str(revision),
        "ref": ref_path(what, namespace) if what else "",
        "dryRun": "true" if dry_run else "",
    }
    return results.report(options.control().json("POST", "/weft/v1/rollback", query), dry_run=dry_run)
