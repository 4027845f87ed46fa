"""``weft edit``: change an object in an editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import click

from weft.cli import kinds, options, output, results, say
from weft.cli.client import Client, Failed, Json, Refused
from weft.errors import Problem
from weft.values import Origin

HEAD = "# Save to apply, leave unchanged or empty to cancel.\n"
SERVER_METADATA = ("managedFields", "uid", "creationTimestamp", "generation")


@click.command("edit")
@click.argument("what", nargs=-1, required=True, metavar="TYPE/NAME")
@options.namespace_option
def command(what: tuple[str, ...], namespace: str) -> int:
    """Edit an object in $EDITOR and apply the result.

    What somebody else changed meanwhile is never overwritten. A refused edit is opened again,
    with the reason at its top.
    """
    wanted = kinds.split(what)
    if len(wanted) != 1 or not wanted[0][1]:
        raise click.UsageError("Say which object: TYPE/NAME.")
    kind, name = wanted[0]
    client = options.control()
    path = kinds.path(kind, namespace, name)
    before = shown(client.get(path))
    text = before
    while True:
        changed = opened(HEAD + text)
        if uncommented(changed).strip() in ("", before.strip()):
            say.note("Not changed.")
            return 0
        try:
            answer = put(client, path, uncommented(changed))
        except (Refused, Failed) as refused:
            if not os.isatty(0):
                raise
            text = "".join(f"# {line}\n" for each in refused.problems for line in str(each).splitlines())
            text += uncommented(changed)
            before = uncommented(changed)
            continue
        say.data(f"{results.name_of({'kind': kind.kind, **answer['metadata']})} configured")
        return 0


def shown(item: dict[str, Any]) -> str:
    """The object as the editor shows it: without what only the server says. Its resourceVersion guards the change."""
    meta = {key: value for key, value in item["metadata"].items() if key not in SERVER_METADATA}
    return output.as_yaml({**{key: value for key, value in item.items() if key != "status"}, "metadata": meta})


def opened(text: str) -> str:
    """The text after the user's editor has seen it."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "object.yaml"
        path.write_text(text)
        try:
            ended = subprocess.run([*shlex.split(editor), str(path)], check=False)  # noqa: S603 - the user's own editor
        except OSError as error:
            message = f"the editor {editor!r} cannot be started: {error.strerror}"
            raise Failed(_problem(message, "Set EDITOR to one that is installed")) from error
        if ended.returncode:
            raise Failed(_problem(f"the editor ended with status {ended.returncode}", "Nothing was changed; try again"))
        return path.read_text()


def put(client: Client, path: str, text: str) -> Json:
    """Replace the object by what the text says."""
    import msgspec  # noqa: PLC0415 - start-up time, as the next one

    from weft.api.document import read  # noqa: PLC0415 - PyYAML is loaded once the text is there

    reading = read(text.encode(), "edit")
    if reading.problems or len(reading.documents) != 1:
        raise Failed(*reading.problems or (_problem("the text is not one object", "Leave exactly one document"),))
    (document,) = reading.documents
    try:
        return client.json("PUT", path, body=document.data)
    except Refused as refused:
        # What is wrong stands in the text that was edited; the request is one long line.
        places = document.places()
        problems = [msgspec.structs.replace(each, origin=places.of(each.field)) for each in refused.problems]
        raise Refused(refused.status, refused.reason, *problems) from refused


def uncommented(text: str) -> str:
    """Without the comments at its top."""
    lines = text.splitlines(keepends=True)
    first = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "".join(lines[first:])


def _problem(message: str, remedy: str) -> Problem:
    return Problem(code="WFT-1706", message=message, remedy=remedy, origin=Origin("edit"))
