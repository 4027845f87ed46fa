"""The control plane dies, hangs, comes back empty: promises A1, A3, A4, A5 and A13, each as one function.

Every function takes a system whose control plane the test runs (``control="false"``), and leaves it as healthy as it was.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from typing import TYPE_CHECKING, Final

import anyio

from tests.support.faults import (
    CALL,
    Outcome,
    changed,
    loaded,
    node_names,
    pids,
    proxy_rows,
    ready,
    stat,
    until_connected,
    updates,
)
from tests.support.system import RATE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.system import System

ACKNOWLEDGED: Final = 'weft_xds_events_total{event="acknowledged"}'
STREAMS: Final = 'weft_xds_events_total{event="streams"}'
STREAMS_ASKED: Final = "cluster.weft-control.upstream_rq_total"
REPLAY_SECONDS: Final = 1.0
"""After everybody is connected: what is sent without need would be sent by then."""


async def killed(system: System, *, away: float, rate: int = RATE) -> Outcome:
    """A1: ``kill -9``, started again after ``away`` seconds, under load all the while.

    ``reconnect_seconds`` begins when the new process is started; ``resources_sent`` counts what it sent, and what the
    Envoys say they were given.
    """
    await ready(system)
    nodes = await node_names(system)
    before = await updates(system, nodes)
    reconnect = 0.0

    async def act() -> None:
        nonlocal reconnect
        await system.kill_control()
        await anyio.sleep(away)
        await system.start_control()
        reconnect = await until_connected(system)
        await anyio.sleep(REPLAY_SECONDS)

    load = await system.during(CALL, away + 4, act, rate=rate)
    given = changed(before, await updates(system, nodes))
    sent = (await system.metrics()).get(ACKNOWLEDGED, 0) + len(given)
    return loaded(load, given, reconnect_seconds=reconnect, resources_sent=sent)


async def hangs(system: System, *, seconds: float, rate: int = RATE) -> Outcome:
    """A4: SIGSTOP for so long. ``detected_seconds``: until the last Envoy has given its stream up and asks anew."""
    await ready(system)
    assert system.control is not None
    process = system.control
    nodes = await node_names(system)
    before = await updates(system, nodes)
    streams = (await system.metrics())[STREAMS]
    detected: dict[str, float] = {}
    reconnect = 0.0

    asked = {node: await stat(system, node, STREAMS_ASKED) for node in nodes}

    async def watch(node: str, since: float) -> None:
        while await stat(system, node, STREAMS_ASKED) <= asked[node]:  # noqa: ASYNC110 - another process
            await anyio.sleep(0.02)
        detected[node] = time.monotonic() - since

    async def act() -> None:
        nonlocal reconnect
        process.send_signal(signal.SIGSTOP)
        try:
            since = time.monotonic()
            with anyio.move_on_after(seconds):
                async with anyio.create_task_group() as tasks:
                    for node in nodes:
                        tasks.start_soon(watch, node, since)
            await anyio.sleep(max(0.0, since + seconds - time.monotonic()))
        finally:
            process.send_signal(signal.SIGCONT)
        reconnect = await until_connected(system, streams=streams + len(nodes))
        await anyio.sleep(REPLAY_SECONDS)

    load = await system.during(CALL, seconds + 4, act, rate=rate)
    assert detected.keys() == set(nodes), f"only these noticed within {seconds:g} s: {detected}"
    given = changed(before, await updates(system, nodes))
    return loaded(
        load, given, detected_seconds=max(detected.values()), reconnect_seconds=reconnect, resources_sent=len(given)
    )


async def crash_loop(system: System, *, times: int, rate: int = RATE) -> Outcome:
    """A5: killed again and again as soon as it serves proxies. ``updates`` counts what any Envoy was given."""
    await ready(system)
    nodes = await node_names(system)
    before = await updates(system, nodes)
    done = anyio.Event()

    async def serving() -> bool:
        return (await system.metrics()).get(STREAMS, 0) > 0

    async def crash() -> None:
        for _ in range(times):
            await system.kill_control()
            await system.start_control()
            await system.until(serving, "a proxy is connected")
        await until_connected(system)
        await anyio.sleep(REPLAY_SECONDS)
        done.set()

    loads = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(crash)
        while not done.is_set():
            loads.append(await system.load(CALL, 2, rate=rate))
    failed = [load for load in loads if load.failed] or loads
    given = changed(before, await updates(system, nodes))
    found = {
        "requests": float(sum(load.sent for load in loads)),
        "failed": float(sum(load.failed for load in loads)),
        "updates": float(len(given)),
    }
    return Outcome(found, failed[0], str(given or ""))


async def proxy_starts_alone(system: System, *, seconds: float, rate: int = RATE) -> Outcome:
    """A13: with control away the caller's Envoy is killed. It starts from what it held last.

    ``ready_seconds``: from the kill to the first answered call; ``failed``: of the load after that, and of one after
    control came back.
    """
    await ready(system)
    held = system.state / "agent" / "held" / "sidecar.default.front-v1-0.bin"

    async def kept() -> bool:
        return held.exists() and b"outbound/back" in held.read_bytes()

    await system.until(kept, "what the proxy holds is on the disk")
    await system.kill_control()
    await system.ask_agent("/v1/processes")
    before = await system.kill("front-v1-0", "proxy")
    begun = time.monotonic()
    gateway = system.known_gateway

    async def answered() -> bool:
        pid = (await system.row("front-v1-0", "proxy"))["pid"]
        return pid not in (0, before) and (await system.get(CALL))[0] == 200

    assert gateway is not None
    await system.until(answered, "a call by the proxy that was started without control")
    taken = time.monotonic() - begun
    load = await system.load(CALL, seconds, rate=rate)
    await system.start_control()
    again = await system.during(CALL, 3, lambda: until_connected(system), after=0, rate=rate)
    worst = again if again.failed else load
    figures = {"requests": load.sent + again.sent, "failed": load.failed + again.failed, "ready_seconds": taken}
    return Outcome(dict(figures), worst)


# --- A3: a control plane that starts with a store that is not the one it had


def emptied(state: Path) -> None:
    for path in state.glob("weft.db*"):
        path.unlink()


def corrupted(state: Path) -> None:
    for path in state.glob("weft.db-*"):
        path.unlink()
    with (state / "weft.db").open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8192))


def replaced(state: Path) -> None:
    """Somebody else's database."""
    emptied(state)
    with sqlite3.connect(state / "weft.db") as connection:
        connection.execute("CREATE TABLE invoices (number INTEGER)")
    connection.close()


def unread(state: Path) -> None:
    """A source that never finishes: the manifest is a pipe that nobody writes to."""
    manifest = state.parent / "mesh.yaml"
    manifest.unlink()
    os.mkfifo(manifest)


STORES: Final[dict[str, Callable[[Path], None]]] = {
    "empty": emptied,
    "corrupt": corrupted,
    "foreign": replaced,
    "unsynced": unread,
}


async def bad_store(system: System, spoil: Callable[[Path], None], *, seconds: float, rate: int = RATE) -> Outcome:
    """A3: control ends, its store is spoilt, it starts again and is given so many seconds to do harm; then all is put
    back. ``removed`` counts resources that any Envoy lost, and processes that ended.
    """
    await ready(system)
    nodes = await node_names(system)
    before, running = await updates(system, nodes), await pids(system, "app", "proxy", "gateway")
    envoys = len(await proxy_rows(system))
    kept = {path.name: path.read_bytes() for path in system.state.glob("weft.db*")}
    manifest = system.file.read_bytes()
    address = system.known_gateway

    async def act() -> None:
        await system.kill_control()
        kept.update({path.name: path.read_bytes() for path in system.state.glob("weft.db*")})
        spoil(system.state)
        await system.start_control()
        await anyio.sleep(seconds)

    load = await system.during(CALL, seconds + 2, act, rate=rate)
    assert address is not None
    lost = sorted(before.keys() - (await updates(system, nodes)).keys())
    now = await pids(system, "app", "proxy", "gateway")
    ended = sum(now.get(name) != pid for name, pid in running.items())
    if system.control is not None and system.control.returncode is None:
        await system.kill_control()
    emptied(system.state)
    for name, content in kept.items():
        (system.state / name).write_bytes(content)
    system.file.unlink()
    system.file.write_bytes(manifest)
    await system.start_control()
    await until_connected(system)
    assert len(await proxy_rows(system)) == envoys
    return loaded(load, lost, removed=len(lost), ended=ended)
