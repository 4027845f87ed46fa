"""From nothing to a mesh that answers, and what all of it weighs.

``weft up -d`` starts the shop of ``examples/01-shop``, a copy of it that is exposed at a free port, in directories of its own.
``up_to_first_routed_request_seconds`` is from starting the command to the first 200 from the shop's gateway, asked every
10 ms: agent, control plane, eight applications and ten Envoys have started by then (median of the runs).
``up_returns_seconds`` is when the command says that everything serves.

``demo_private_mb`` is the sum of what every process of it shares with no other (``smaps_rollup``), after some requests went
through each service; ``control_``, ``agent_``, ``proxies_`` and ``applications_private_mb`` are its parts.

``cli_verb_ms`` is the slowest verb's start-up, ``weft VERB --help`` or the verb itself where it needs no server, from starting
the process to its end: the quickest of several tries of each, since a busy machine can only add to it. ``cli_verb_cpu_ms`` is
the CPU time of the verb that needs most.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.rig import free_port, private_mb
from weft.cli.main import VERBS

ROOT: Final = Path(__file__).parents[1]
EXAMPLE: Final = ROOT / "examples" / "01-shop"
EXPOSED: Final = "expose: {port: 8080}"
WEFT: Final = Path(sys.executable).with_name("weft")
RUNS: Final = 3
TRIES: Final = 5
PATIENCE: Final = 60.0
REQUESTS: Final = 50
AGENT, CONTROL, PROXIES, APPLICATIONS = "agent", "control", "proxies", "applications"


class Started(msgspec.Struct, frozen=True):
    """Seconds from starting the command."""

    answered: float
    returned: float


def environment(directory: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WEFT_", "XDG_"))}
    # The example's applications are called python: that of this installation.
    path = f"{WEFT.parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return kept | {"WEFT_STATE_DIR": str(directory / "s"), "WEFT_RUNTIME_DIR": str(directory / "r"), "PATH": path}


def weft(directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own command
        [WEFT, *arguments], env=environment(directory), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def shop(directory: Path) -> tuple[Path, str]:
    """A copy of the example, and the address at which it will answer."""
    copy = directory / "shop"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    mesh = copy / "mesh.yaml"
    port = free_port()
    text = mesh.read_text()
    if EXPOSED not in text:
        raise ValueError(f"{mesh} does not say {EXPOSED}")
    mesh.write_text(text.replace(EXPOSED, f"expose: {{port: {port}}}"))
    return mesh, f"127.0.0.1:{port}"


def up(directory: Path, mesh: Path, address: str) -> Started:
    """Start the shop, and ask until it answers."""
    begun = time.monotonic()
    command = weft(directory, "up", "-d", "-f", str(mesh))
    answered = returned = 0.0
    while not (answered and returned):
        if time.monotonic() - begun > PATIENCE:
            raise RuntimeError("the shop does not answer")
        if not answered and asked(address):
            answered = time.monotonic() - begun
        if not returned and command.poll() is not None:
            if command.returncode:
                raise RuntimeError(f"weft up ended with {command.returncode}")
            returned = time.monotonic() - begun
        time.sleep(0.01)
    return Started(answered, returned)


def asked(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def down(directory: Path) -> None:
    ended = weft(directory, "down")
    ended.communicate(timeout=PATIENCE)


def weights(directory: Path) -> dict[str, float]:
    """Private megabytes of every process that runs for these directories, by what it is."""
    mark = f"WEFT_RUNTIME_DIR={directory / 'r'}".encode()
    found = dict.fromkeys((AGENT, CONTROL, PROXIES, APPLICATIONS), 0.0)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = entry.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode()
            # Envoys are told paths, and applications run in the folder of their mesh.
            places = (command, str(entry.joinpath("cwd").readlink()))
            ours = mark in entry.joinpath("environ").read_bytes() or any(str(directory) in place for place in places)
            weight = private_mb(int(entry.name)) if ours else 0.0
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        found[kind(command)] += weight
    return found


def kind(command: str) -> str:
    if "weft.control" in command:
        return CONTROL
    if "weft.agent" in command:
        return AGENT
    return PROXIES if command.partition(" ")[0].endswith("envoy") else APPLICATIONS


def verbs(directory: Path) -> dict[str, tuple[float, float]]:
    """Milliseconds of each verb, by the clock and of CPU time."""
    names = [name for group in VERBS.values() for name in group]
    lines = [[name, "--help"] for name in names] + [["version"], ["get", "services"], ["ps"]]
    times = {}
    for line in lines:
        tries = [tried(directory, line) for _ in range(TRIES)]
        times[" ".join(line)] = (min(clock for clock, _ in tries), min(cpu for _, cpu in tries))
    slowest = max(times, key=lambda line: times[line])
    print(f"slowest: weft {slowest}", file=sys.stderr)  # noqa: T201 - not a figure
    return times


def tried(directory: Path, line: list[str]) -> tuple[float, float]:
    begun, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    weft(directory, *line).communicate(timeout=PATIENCE)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return (time.perf_counter() - begun) * 1000, cpu * 1000


def main() -> None:
    taken: list[Started] = []
    weight: dict[str, float] = {}
    speed: dict[str, tuple[float, float]] = {}
    for run in range(RUNS):
        directory = Path(tempfile.mkdtemp(prefix="weft-"))
        try:
            mesh, address = shop(directory)
            taken.append(up(directory, mesh, address))
            if run == RUNS - 1:
                if not all(asked(address) for _ in range(REQUESTS)):
                    raise RuntimeError("a request to the shop failed")
                weight = weights(directory)
                speed = verbs(directory)
        finally:
            down(directory)
            shutil.rmtree(directory, ignore_errors=True)
    figures = {
        "up_to_first_routed_request_seconds": statistics.median(each.answered for each in taken),
        "up_returns_seconds": statistics.median(each.returned for each in taken),
        "demo_private_mb": sum(weight.values()),
        **{f"{name}_private_mb": value for name, value in weight.items()},
        "cli_verb_ms": max(clock for clock, _ in speed.values()),
        "cli_verb_cpu_ms": max(cpu for _, cpu in speed.values()),
        "cli_version_ms": speed["version"][0],
        "cli_get_ms": speed["get services"][0],
        "cli_ps_ms": speed["ps"][0],
    }
    print(json.dumps(figures))  # noqa: T201 - the figures


if __name__ == "__main__":
    main()
