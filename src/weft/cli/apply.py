"""``weft apply``: make the mesh say what manifests say."""

from __future__ import annotations

import click

from weft.cli import manifests, options, results


@click.command("apply")
@options.files_option()
@click.option(
    "--owner",
    default="cli",
    show_default=True,
    metavar="NAME",
    help="On whose behalf: what this owner's last apply said and this one does not goes away; what others set stays.",
)
@click.option(
    "--prune", is_flag=True, help="Also delete objects that this owner applied before and that are not named now."
)
@options.dry_run_option
def command(files: tuple[str, ...], owner: str, prune: bool, dry_run: bool) -> int:
    """Apply manifests: create what is new, change what differs.

    Fields that an earlier apply set and that the manifest no longer says are removed.
    """
    found = manifests.sources(files)
    query = {"owner": owner, "prune": "true" if prune else "", "dryRun": "true" if dry_run else ""}
    client = options.control()
    answer = manifests.send(client, "/weft/v1/apply", query, found)
    return results.report(answer, dry_run=dry_run, client=client)
