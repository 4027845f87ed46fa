"""``weft delete``: remove objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from weft.cli import kinds, objects, options, results, say
from weft.cli.client import Failed, Refused

if TYPE_CHECKING:
    from weft.api.kinds import Kind
    from weft.errors import Problem


@click.command("delete")
@click.argument("what", nargs=-1, metavar="[TYPE[/NAME] [NAME]...]")
@options.files_option(required=False)
@options.namespace_option
@click.option("--all", "everything", is_flag=True, help="All objects of the type in the namespace.")
@click.option("--ignore-not-found", is_flag=True, help="Say nothing about what is not there.")
@options.dry_run_option
def command(
    what: tuple[str, ...],
    files: tuple[str, ...],
    namespace: str,
    everything: bool,
    ignore_not_found: bool,
    dry_run: bool,
) -> None:
    """Delete objects by name, or those that manifests name."""
    if bool(what) == bool(files):
        raise click.UsageError("Say TYPE/NAME, or -f FILE.")
    client = options.control()
    targets = _named(files, namespace) if files else _given(what, namespace, everything=everything)
    missing: list[Problem] = []
    for kind, inside, name in targets:
        ref = {"kind": kind.kind, "namespace": inside if kind.namespaced else "", "name": name}
        query = {"dryRun": "All"} if dry_run else {}
        try:
            client.send("DELETE", kinds.path(kind, inside, name), query).read()
        except Refused as refused:
            if refused.status != 404:
                raise
            if not ignore_not_found:
                missing.extend(refused.problems)
            continue
        say.data(f"{results.name_of(ref)} deleted{' (dry run)' if dry_run else ''}")
    if missing:
        raise Failed(*missing)


def _given(what: tuple[str, ...], namespace: str, *, everything: bool) -> list[tuple[Kind, str, str]]:
    wanted = kinds.split(what)
    if any(not name for _, name in wanted):
        if not everything:
            raise click.UsageError("Say which: TYPE/NAME. All of them: --all.")
        items = objects.fetch(options.control(), wanted, namespace)
        return [(kinds.find(item["kind"]), namespace, item["metadata"]["name"]) for item in items]
    return [(kind, namespace, name) for kind, name in wanted]


def _named(files: tuple[str, ...], namespace: str) -> list[tuple[Kind, str, str]]:
    from weft.api.document import read  # noqa: PLC0415 - only manifests need the reader, and it PyYAML
    from weft.api.kinds import find  # noqa: PLC0415 - as above
    from weft.cli import manifests  # noqa: PLC0415 - as above

    found: list[tuple[Kind, str, str]] = []
    for source, data in manifests.sources(files):
        reading = read(data, source, namespace)
        if reading.problems:
            raise Failed(*reading.problems)
        refs = [document.ref for document in reading.documents]
        found.extend((kind, r.namespace or namespace, r.name) for r in refs if (kind := find(r.group, r.kind)))
    return found
