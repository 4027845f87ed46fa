"""``weft up``: a mesh on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from weft.cli import manifests, options, processes, results, say
from weft.cli.client import Absent, Client, Failed, problems_of
from weft.cli.down import answers, stop
from weft.errors import Problem, Severity
from weft.values import Origin

if TYPE_CHECKING:
    from weft.paths import Paths

FOLLOW_SECONDS: Final = 0.25


@click.command("up")
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE|DIR",
    help="Manifests to run and to watch: a changed file changes the mesh. Repeatable.",
)
@click.option(
    "--address",
    envvar="WEFT_ADDRESS",
    metavar="IP",
    help="An address of this machine at which other hosts may join ('weft join').",
)
@click.option("-d", "--detach", is_flag=True, help="Leave it running and return. 'weft down' ends it.")
@options.start_timeout_option("How long to wait until everything serves.")
def command(files: tuple[Path, ...], address: str | None, detach: bool, seconds: float) -> int:
    """Start a mesh on this machine, and run what manifests say.

    In the foreground it says what happens until Ctrl-C, and then ends everything. What files of an
    earlier 'up' said goes away when others are given; without -f everything is as it was.
    """
    agent, control, paths = options.agent(), options.control(), options.paths()
    if answers(agent):
        return again(files, control)
    end = time.monotonic() + seconds
    started = start(paths, files, address)
    if is_joined(paths):
        wait_joined(started, agent, paths, end - time.monotonic())
        say.note("This host is in its mesh again. End it: weft down")
        return 0
    try:
        wait_ready(started, agent, control, paths, end - time.monotonic())
        failed = introduce(agent, control, paths, end - time.monotonic())
        if detach:
            return failed
        say.note("Ctrl-C ends everything.")
        follow(agent, control)
    except KeyboardInterrupt:
        say.note("")
    except Failed:
        _stop_quietly(agent)
        raise
    stop(agent)
    say.note("Everything has ended.")
    return 130


def is_joined(paths: Paths) -> bool:
    """Whether this is a host of a mesh whose control plane is elsewhere."""
    return paths.joined.exists()


def wait_joined(started: subprocess.Popen[bytes], agent: Client, paths: Paths, seconds: float) -> None:
    """Wait until the agent of a joined host has its host proxy, and so has been given an identity. Raises ``Failed``."""

    def ready() -> bool:
        rows = agent.get("/v1/processes")["processes"]
        return started.poll() is not None or any(row["kind"] == "egress" and row["state"] == "running" for row in rows)

    in_time = processes.wait_for(ready, seconds)
    if started.poll() is not None:
        raise Failed(_did_not_start(f"the agent ended with status {started.returncode}", paths))
    if not in_time:
        raise Failed(_did_not_start("the host proxy does not run in time", paths))


def start(paths: Paths, files: tuple[Path, ...], address: str | None = None) -> subprocess.Popen[bytes]:
    """Start the agent, in a session of its own so that Ctrl-C reaches it by our word only."""
    from weft.cli import join  # noqa: PLC0415 - it starts by this, too
    from weft.paths import prepare  # noqa: PLC0415 - only this verb makes the directories

    if problems := prepare(paths):
        raise Failed(*problems)
    environment = {
        **os.environ,
        "WEFT_FILES": os.pathsep.join(str(path.absolute()) for path in files),
        "WEFT_STATE_DIR": str(paths.state),
        "WEFT_RUNTIME_DIR": str(paths.runtime),
        **({"WEFT_ADDRESS": address} if address else {}),
        **join.environment(paths),
    }
    with log_path(paths).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "weft.agent"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )


def log_path(paths: Paths) -> Path:
    return paths.logs / "agent.log"


def wait_ready(started: subprocess.Popen[bytes], agent: Client, control: Client, paths: Paths, seconds: float) -> None:
    """Wait until agent and control plane answer. Raises ``Failed`` with the end of the log when the agent has ended."""

    def ready() -> bool:
        if started.poll() is not None:
            return True
        agent.get("/v1/processes")
        control.send("GET", "/readyz").read()
        return True

    in_time = processes.wait_for(ready, seconds)
    if started.poll() is not None:
        raise Failed(_did_not_start(f"the agent ended with status {started.returncode}", paths))
    if not in_time:
        raise Failed(_did_not_start("the control plane is not ready in time", paths))


def _did_not_start(message: str, paths: Paths) -> Problem:
    lines = log_path(paths).read_text(errors="replace").splitlines()[-8:]
    remedy = (
        "The end of its log says why:\n" + "\n".join(f"       {line}" for line in lines)
        if lines
        else "Its log is empty"
    )
    return Problem(code="WFT-1709", message=message, remedy=remedy, origin=Origin(str(log_path(paths))))


def introduce(agent: Client, control: Client, paths: Paths, seconds: float) -> int:
    """Wait until everything serves, and say what runs where and what is wrong; the exit code."""
    settled = processes.wait_for(lambda: not processes.unsettled(agent, control), seconds)
    found = problems_of(control.get("/weft/v1/problems"))
    for problem in found:
        say.problem(problem)
    items = processes.items(agent)
    for item in items:
        if item["state"] == "failing":
            say.warning(f"{item['name']} is failing: {item.get('reason') or 'see weft logs ' + item['name']}")
    if not settled:
        say.warning(f"not serving in time: {', '.join(processes.unsettled(agent, control))}")
    serving = sum(item["state"] in ("serving", "running") for item in items)
    if items:
        say.note(f"{serving} of {len(items)} serve. List them: weft ps")
    else:
        say.note("weft runs, with nothing in it yet. Next: weft run NAME -- CMD..., or weft apply -f FILE")
    for item in items:
        for address in processes.addresses(item):
            say.note(f"gateway {item['name']}: {address}")
    say.note(f"State: {paths.state}  Sockets: {paths.runtime}")
    return int(not settled or any(problem.severity is Severity.ERROR for problem in found))


def again(files: tuple[Path, ...], control: Client) -> int:
    """``up`` when it is up: files are applied once, as ``weft apply`` does."""
    if not files:
        say.note("weft runs already. List what is in it: weft ps. End it: weft down")
        return 0
    say.warning("weft runs already, so these files are applied once and not watched. To watch them: weft down first")
    found = manifests.sources(str(path) for path in files)
    return results.report(manifests.send(control, "/weft/v1/apply", {"owner": "cli"}, found), client=control)


def follow(agent: Client, control: Client) -> None:
    """Say what changes, until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    before = snapshot(agent)
    said = set(problems_of(control.get("/weft/v1/problems")))
    while True:
        time.sleep(FOLLOW_SECONDS)
        try:
            now = snapshot(agent)
            found = problems_of(control.get("/weft/v1/problems"))
        except Absent as absent:
            if not answers(agent):
                raise
            say.warning(str(absent.problems[0].message))
            continue
        for line in changes(before, now):
            say.note(line)
        for problem in found:
            if problem not in said:
                say.problem(problem)
        before, said = now, set(found)


def snapshot(agent: Client) -> dict[str, dict[str, Any]]:
    return {f"{item['namespace']}/{item['name']}": item for item in processes.items(agent)}


def changes(before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> list[str]:
    """One line for each process that came, went, restarted or changed its state."""
    lines = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if new is None:
            lines.append(f"{name} is gone")
        elif old is None or old["state"] != new["state"]:
            reason = f" ({new['reason']})" if new.get("reason") else ""
            lines.append(f"{name} is {new['state']}{reason}")
        elif new.get("restarts", 0) > old.get("restarts", 0):
            lines.append(f"{name} was restarted ({new['restarts']} times so far)")
    return lines


def _stop_quietly(agent: Client) -> None:
    try:
        stop(agent)
    except Failed as failed:
        if not isinstance(failed, Absent):
            say.problem(failed.problems[0])
