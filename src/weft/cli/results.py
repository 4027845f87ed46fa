"""What became of writes, as ``apply``, ``delete``, ``edit``, ``rollback`` and ``route split`` show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.cli import say
from weft.cli.client import problems_of
from weft.errors import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from weft.cli.client import Json
    from weft.cli.manifests import Joined
    from weft.errors import Problem


def name_of(ref: Mapping[str, str], *, namespace: bool = True) -> str:
    """``httproute/cart``, with ``-n shop`` behind it where it is not the default namespace."""
    inside = ref.get("namespace", "")
    place = f" -n {inside}" if namespace and inside not in ("", "default") else ""
    return f"{ref['kind'].lower()}/{ref['name']}{place}"


def report(answer: Json, *, dry_run: bool = False, joined: Joined | None = None) -> int:
    """Show each result on stdout and each problem on stderr; the exit code."""
    suffix = " (dry run)" if dry_run else ""
    lines = [f"{name_of(result['ref'])} {result['verb']}{suffix}" for result in answer.get("results", [])]
    if lines:
        say.data("\n".join(lines))
    found = problems(answer, joined)
    for problem in found:
        say.problem(problem)
    refused = any(result["verb"] == "refused" for result in answer.get("results", []))
    return int(refused or any(problem.severity is Severity.ERROR for problem in found))


def problems(answer: Mapping[str, Any], joined: Joined | None = None) -> tuple[Problem, ...]:
    """The problems of an answer, at the places in the files that the user has."""
    found = problems_of(answer)
    if joined is None:
        return found
    return tuple(msgspec.structs.replace(problem, origin=joined.place(problem.origin)) for problem in found)
