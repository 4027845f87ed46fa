"""``weft down``: end everything that ``weft up`` started."""

from __future__ import annotations

import click

from weft.cli import options, processes, say
from weft.cli.client import Absent, Client, Failed
from weft.errors import Problem
from weft.values import Origin

SECONDS = 30.0


@click.command("down")
def command() -> None:
    """Stop everything that runs on this machine.

    What was applied stays stored, for the next weft up."""
    agent = options.agent()
    try:
        stop(agent)
    except Absent as absent:
        if absent.problems[0].code != "WFT-1701":
            raise
        say.note("Nothing runs here.")
        return
    say.note("Everything has ended.")


def stop(agent: Client, seconds: float = SECONDS) -> None:
    """End everything and wait for the agent to go. ``Absent`` when it was not there, ``Failed`` when it stays."""
    agent.send("POST", "/v1/stop", timeout=seconds).read()
    if not processes.wait_for(lambda: not answers(agent), seconds):
        message = f"the agent still answers {seconds:g} s after it was told to stop"
        raise Failed(
            Problem(
                code="WFT-1703", message=message, remedy="Read its log: weft logs weft-agent", origin=Origin(agent.path)
            )
        )


def answers(agent: Client) -> bool:
    try:
        agent.get("/v1/processes")
    except Absent:
        return False
    return True
