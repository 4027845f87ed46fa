"""``weft check``: what is wrong with manifests, without a server; and with ``--pre`` what works on this machine."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from weft.cli import manifests, options, output, say
from weft.cli.client import Failed
from weft.errors import Problem, Severity
from weft.values import Origin

if TYPE_CHECKING:
    from weft.api.document import Document


@click.command("check")
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@options.namespace_option
@click.option("--pre", is_flag=True, help="Instead: say what works on this machine, and why something does not.")
@options.output_option("sarif", "junit")
def command(paths: tuple[str, ...], namespace: str, pre: bool, form: str) -> int:
    """Check manifests without a server, or this machine.

    By default those in this folder. Reports what is wrong, and what is allowed and cannot be
    meant. Exit code 3: something was found.
    """
    if pre:
        if paths:
            raise click.UsageError("--pre looks at this machine, not at files.")
        return preflight(form)
    sources = manifests.sources(paths or (".",))
    if not sources:
        message = f"there are no manifests in {', '.join(paths) or 'this folder'}"
        raise Failed(Problem(code="WFT-1710", message=message, remedy="Name files or folders", origin=Origin(".")))
    documents, problems = analyse(sources, namespace)
    show(form, documents, problems, [source for source, _ in sources])
    return 3 if problems else 0


def analyse(sources: list[tuple[str, bytes]], namespace: str) -> tuple[list[Document], list[Problem]]:
    """Everything that reading, decoding, compiling and looking at the whole finds."""
    from weft.api.decode import decode  # noqa: PLC0415 - start-up time: pydantic
    from weft.api.document import read  # noqa: PLC0415 - start-up time: PyYAML
    from weft.dialects.compile import compile_world  # noqa: PLC0415 - start-up time
    from weft.dialects.values import Input  # noqa: PLC0415 - start-up time
    from weft.explain.findings import findings  # noqa: PLC0415 - start-up time
    from weft.memo import Memo  # noqa: PLC0415 - start-up time

    problems: list[Problem] = []
    documents: list[Document] = []
    waiting, seen = list(sources), {place for place, _ in sources}
    while waiting:
        place, data = waiting.pop(0)
        reading = read(data, place, namespace)
        problems += reading.problems
        documents += reading.documents
        for included, found in followed(reading.documents):
            problems += found
            waiting += [each for each in included if each[0] not in seen]
            seen |= {each[0] for each in included}
    documents, repeated = once(documents)
    problems += repeated
    decoded = [decode(document) for document in documents]
    problems += [problem for each in decoded for problem in each.problems]
    compiled = compile_world(Input(objects=tuple(decoded), hosts=()), Memo())
    problems += compiled.problems
    problems += findings(compiled.mesh, documents, compiled.http_guards)
    unique = dict.fromkeys(problems)
    return documents, sorted(
        unique, key=lambda each: (each.origin.source, each.origin.line, each.origin.column, each.code)
    )


def once(documents: list[Document]) -> tuple[list[Document], list[Problem]]:
    """The first document of each object, and a problem for every other one."""
    first: dict[Any, Document] = {}
    repeated = [each for each in documents if first.setdefault(each.ref, each) is not each]
    return list(first.values()), [
        Problem(
            code="WFT-1110",
            message=f"{each.ref} is written in {first[each.ref].origin} too, and one object can stand only once",
            remedy="Check one of these files at a time if they are alternatives, or rename one of the objects",
            origin=each.origin,
            ref=each.ref,
        )
        for each in repeated
    ]


def followed(documents: tuple[Document, ...]) -> list[tuple[list[tuple[str, bytes]], list[Problem]]]:
    """What the ``include`` of each Mesh names, relative to its file."""
    from weft.api.include import includes  # noqa: PLC0415 - start-up time

    found: list[tuple[list[tuple[str, bytes]], list[Problem]]] = []
    for document in documents:
        for path, field in includes(document):
            try:
                found.append((manifests.sources((str(Path(document.origin.source).parent / path),)), []))
            except Failed as failed:
                place = {"origin": document.place(field), "field": field, "ref": document.ref}
                found.append(([], [msgspec.structs.replace(problem, **place) for problem in failed.problems]))
    return found


def show(form: str, documents: list[Document], problems: list[Problem], sources: list[str]) -> None:
    """Findings are the data of this verb: they go to stdout."""
    if form in ("table", "wide"):
        for problem in problems:
            say.data(str(problem))
        errors = sum(problem.severity is Severity.ERROR for problem in problems)
        if problems:
            say.note(
                f"{output.count(errors, 'error')}, {output.count(len(problems) - errors, 'warning')} "
                f"in {output.count(len(documents), 'object')}"
            )
        else:
            say.note(f"OK, checked {output.count(len(documents), 'object')} in {output.count(len(sources), 'file')}")
    elif form in ("sarif", "junit"):
        from weft.explain import reports  # noqa: PLC0415 - start-up time

        if form == "junit":
            say.data(reports.junit(problems, sources))
        else:
            say.data(json.dumps(reports.sarif(problems, metadata.version("weft")), indent=2))
    else:
        answer: dict[str, Any] = {"checked": len(documents), "problems": msgspec.to_builtins(problems)}
        output.show(form, answer, answer["problems"], (), lambda row: f"{row['code']} {row['origin']['source']}")


def preflight(form: str) -> int:
    """What works on this machine."""
    import anyio  # noqa: PLC0415 - start-up time

    from weft.agent.check import preflight as look  # noqa: PLC0415 - start-up time

    found = anyio.run(look)
    rows: list[dict[str, Any]] = msgspec.to_builtins(found)
    output.show(form, {"items": rows}, rows, PREFLIGHT, lambda row: str(row["name"]))
    for each in found:
        if each.problem:
            say.problem(each.problem)
    return 0 if all(each.works for each in found) else 3


PREFLIGHT = (
    output.Column("WHAT", lambda row: row["name"]),
    output.Column("WORKS", lambda row: row["works"]),
    output.Column("WHY", lambda row: row["detail"]),
)
