"""``weft exec``: run a command where a workload's traffic is captured."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weft.cli import options, processes, say
from weft.cli.client import Failed
from weft.errors import Problem
from weft.values import Origin

if TYPE_CHECKING:
    from weft.cli.client import Json


@click.command("exec")
@click.argument("workload")
@click.argument("words", nargs=-1, required=True, metavar="-- CMD...", type=click.UNPROCESSED)
@options.namespace_option
def command(workload: str, words: tuple[str, ...], namespace: str) -> None:
    """Run a command where a workload's traffic is captured.

    In its network, with its environment and its name in the mesh:

    \b
    weft exec frontend-v1-0 -- curl -s http://reviews/1
    """
    agent = options.agent()
    found = processes.matching(processes.items(agent), workload, namespace)
    answer = agent.get(f"/v1/processes/{namespace}/{found[0]['name']}/enter")
    if len(found) > 1:
        say.note(f"{workload} has {len(found)} instances; this is {found[0]['name']}")
    become(answer, words, found[0]["name"])


def become(answer: Json, words: tuple[str, ...], name: str) -> None:
    """Enter the namespaces, the user namespace first, and become the command; returns only by raising ``Failed``."""
    try:
        if paths := namespaces(answer["pid"], answer["namespaces"]):
            from weft.agent.enter import join  # noqa: PLC0415 - only captured networks need it

            join([os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths])
    except OSError as error:
        message = f"the network of {name} cannot be entered: {error.strerror}"
        raise Failed(_problem("WFT-1707", message, "See that it runs, as this user: weft ps")) from error
    # The command sees this terminal and this directory; everything that leads its traffic is the workload's.
    environment = {**_terminal(answer["environment"]), **answer["environment"]}
    try:
        os.execvpe(words[0], list(words), environment)  # noqa: S606 - running the command is what this verb is for
    except OSError as error:
        message = f"{words[0]} cannot be run: {error.strerror}"
        raise Failed(
            _problem("WFT-1708", message, "Name a program that is installed, with its path"), exit_code=127
        ) from error


def _terminal(workload: Json) -> dict[str, str]:
    """This process's environment, without its proxy where the workload's proxy shall be used."""
    from weft.agent.environment import unproxied  # noqa: PLC0415 - as above
    from weft.model.service import Capture  # noqa: PLC0415 - as above

    captured = workload.get("WEFT_CAPTURE", Capture.NONE.value) != Capture.NONE.value
    return unproxied(os.environ) if captured else dict(os.environ)


def namespaces(pid: int, kinds: list[str]) -> list[str]:
    """The namespaces of a process that are not this process's own, in the order of joining. Raises ``OSError``."""

    def own(kind: str) -> bool:
        return Path(f"/proc/{pid}/ns/{kind}").samefile(f"/proc/self/ns/{kind}")

    return [f"/proc/{pid}/ns/{kind}" for kind in kinds if not own(kind)]


def _problem(code: str, message: str, remedy: str) -> Problem:
    return Problem(code=code, message=message, remedy=remedy, origin=Origin("weft exec"))
