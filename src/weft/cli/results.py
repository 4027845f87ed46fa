"""What became of writes, as ``apply``, ``delete``, ``edit``, ``rollback`` and ``route split`` show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.cli import closing, processes, say
from weft.cli.client import problems_of
from weft.errors import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from weft.cli.client import Client, Json
    from weft.errors import Problem

SETTLE_SECONDS: Final = 2.0


def name_of(ref: Mapping[str, str], *, namespace: bool = True) -> str:
    """``httproute/cart``, with ``-n shop`` behind it where it is not the default namespace."""
    inside = ref.get("namespace", "")
    place = f" -n {inside}" if namespace and inside not in ("", "default") else ""
    return f"{ref['kind'].lower()}/{ref['name']}{place}"


def report(
    answer: Json,
    *,
    dry_run: bool = False,
    client: Client | None = None,
    talk: bool = False,
) -> int:
    """Show each result on stdout and each problem on stderr; the exit code.

    With ``client``, problems that show only in the whole (a route to a service that is not there) are shown too. With
    ``talk`` the results go to stderr, because something else is the data.
    """
    suffix = " (dry run)" if dry_run else ""
    lines = [f"{name_of(result['ref'])} {result['verb']}{suffix}" for result in answer.get("results", [])]
    if lines:
        (say.note if talk else say.data)("\n".join(lines))
    found = problems_of(answer)
    if client and not dry_run:
        found += tuple(problem for problem in settled(client, answer) if problem not in found)
    for problem in found:
        say.problem(problem)
    closing.warn(answer)
    refused = any(result["verb"] == "refused" for result in answer.get("results", []))
    return int(refused or any(problem.severity is Severity.ERROR for problem in found))


def settled(client: Client, answer: Mapping[str, Any]) -> tuple[Problem, ...]:
    """The problems of the applied objects once the control plane has compiled them; none when it takes too long."""
    said: dict[str, Any] = {}

    def compiled() -> bool:
        said.update(client.get("/weft/v1/problems"))
        return bool(said["revision"] >= answer["revision"])

    if not processes.wait_for(compiled, SETTLE_SECONDS):
        return ()
    refs = {tuple(result["ref"].values()) for result in answer.get("results", [])}
    own = [each for each in problems_of(said) if each.ref and tuple(msgspec.to_builtins(each.ref).values()) in refs]
    return tuple(own)
