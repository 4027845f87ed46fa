"""Endpoints, proxies and agents die, come and go under load: promises C1 to C4 and C7 to C11, each as one function.

Every function takes a system that runs ``MESH``, and leaves it as healthy as it was.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Final

import anyio

from tests.support import meshes
from tests.support.faults import CALL, Outcome, admin, loaded, node_names, pids, ready, until_connected
from tests.support.meshes import echo, front
from tests.support.system import RATE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.system import System

from contextlib import asynccontextmanager

LATE_SECONDS: Final = 1.0
"""How long an application of version v2 takes until it listens."""


def mesh(first: int = 2, second: int = 1) -> str:
    """Two callers behind the gateway; ``first`` instances of v1 and ``second`` of v2, which listens late."""
    late = f'{{replicas: {second}, env: {{START_DELAY: "{LATE_SECONDS:g}"}}}}'
    versions = f"versions: {{v1: {{replicas: {first}}}, v2: {late}}}"
    return meshes.mesh(front("replicas: 2"), echo("back", versions))


MESH: Final = mesh()


def write(system: System, text: str) -> None:
    """As an editor saves: the whole file at once."""
    fresh = system.file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(system.file)


@asynccontextmanager
async def agent_frozen(system: System) -> AsyncIterator[None]:
    """SIGSTOP for the agent: nothing that happens meanwhile is known to it or to control."""
    assert system.agent is not None
    system.agent.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        system.agent.send_signal(signal.SIGCONT)


async def serving(system: System, *names: str) -> bool:
    states = {row["name"]: row["state"] for row in await system.rows() if row["kind"] == "app"}
    return all(states.get(name) == "serving" for name in names)


async def gone(system: System, name: str) -> bool:
    rows = await system.rows()
    return bool(rows) and not any(row["name"] == name and row["pid"] for row in rows)


async def endpoint_dies(system: System, *, seconds: float = 12, rate: int = RATE) -> Outcome:
    """C1: one of three applications is killed, and nobody is told for 2 s.

    ``beyond_in_flight``: failed requests more than were under way at that moment.
    """
    await ready(system)
    in_flight = 0

    async def act() -> None:
        nonlocal in_flight
        rows = await system.row("back-v1-0")
        async with agent_frozen(system):
            in_flight = len(system.under_way)
            system.kill_pid(rows["pid"])
            await anyio.sleep(2)
        await system.until(lambda: serving(system, "back-v1-0"), "it was started again")

    load = await system.during(CALL, seconds, act, rate=rate)
    return loaded(load, in_flight=in_flight, beyond_in_flight=max(0, load.failed - in_flight))


async def scaled_down(system: System, *, seconds: float = 10, rate: int = RATE) -> Outcome:
    """C2: the manifest asks for one instance less, gracefully."""
    await ready(system)

    async def act() -> None:
        write(system, mesh(first=1))
        await system.until(lambda: gone(system, "back-v1-1"), "one instance less")

    load = await system.during(CALL, seconds, act, rate=rate)
    write(system, MESH)
    await system.until(lambda: serving(system, "back-v1-1"), "it is back")
    return loaded(load)


async def workload_stopped(system: System, *, seconds: float = 10, rate: int = RATE) -> Outcome:
    """C10: a workload that is called and one that calls are stopped by hand and started again."""
    await ready(system)

    async def act() -> None:
        for name in ("back-v1-1", "front-v1-1"):
            await system.ask_agent(f"/v1/processes/default/{name}/stop", "POST")
            assert await gone(system, name)
            await system.ask_agent(f"/v1/processes/default/{name}/start", "POST")
            await system.until(lambda name=name: serving(system, name), f"{name} is back")  # type: ignore[misc]

    load = await system.during(CALL, seconds, act, rate=rate)
    return loaded(load)


async def scaled_up(system: System, *, seconds: float = 10, rate: int = RATE) -> Outcome:
    """C3: two more instances that listen only after a second. ``idle``: how many of them were never called."""
    await ready(system)
    new = ("back-v2-1", "back-v2-2")

    after = []

    async def act() -> None:
        write(system, mesh(second=3))
        await system.until(lambda: serving(system, *new), "the new ones serve")
        after.append(await system.load(CALL, 1, rate=50))  # the other load may have ended

    load = await system.during(CALL, seconds, act, rate=rate)
    write(system, MESH)
    for name in new:
        await system.until(lambda name=name: gone(system, name), f"{name} is gone")  # type: ignore[misc]
    called = {body.rpartition("/")[2] for each in (load, *after) for body in each.bodies if body}
    worse = max(load, *after, key=lambda each: each.failed)
    return loaded(worse, sorted(called), idle=len(set(new) - called))


async def all_endpoints_die(system: System, *, seconds: float = 12, rate: int = RATE) -> Outcome:
    """C4: every instance of a service is killed and stays away for 2 s.

    ``recovered_seconds``: from the moment at which one of them serves again to the last failure.
    """
    await ready(system)
    names = ("back-v1-0", "back-v1-1", "back-v2-0")
    back = 0.0

    async def one() -> bool:
        return any([await serving(system, name) for name in names])

    async def act() -> None:
        nonlocal back
        rows = [await system.row(name) for name in names]
        async with agent_frozen(system):
            for row in rows:
                system.kill_pid(row["pid"])
            await anyio.sleep(2)
        # What the agent says at once is older than the deaths: it has not been told of them yet.
        await system.until(lambda: gone_all(system, [row["pid"] for row in rows]), "it knows")
        await system.until(one, "one of them serves")
        back = time.monotonic()

    load = await system.during(CALL, seconds, act, rate=rate)
    assert load.failed, "all endpoints were dead, and no request failed"
    return loaded(load, recovered_seconds=max(0.0, load.last_failure - back))


async def gone_all(system: System, numbers: list[int]) -> bool:
    rows = await system.rows()
    return bool(rows) and not {row["pid"] for row in rows} & set(numbers)


async def source_says_nothing(system: System, *, seconds: float, rate: int = RATE) -> Outcome:
    """C7: the host's report says that nothing runs, and the manifest is suddenly empty, for half the time each."""
    await ready(system)
    frozen = seconds / 2

    async def act() -> None:
        async with agent_frozen(system):
            await system.ask("/weft/v1/hosts/test", "PUT", '{"host": "test", "workloads": []}')
            await anyio.sleep(frozen)
        system.file.write_text("")
        await anyio.sleep(frozen)
        system.file.write_text(MESH)

    load = await system.during(CALL, seconds + 2, act, rate=rate)
    return loaded(load)


async def envoy_killed(system: System, *, seconds: float = 10, rate: int = RATE) -> Outcome:
    """C8: a caller's Envoy dies. ``restarted_seconds``: until another one is there and answers a call."""
    await ready(system)
    taken = 0.0

    async def act() -> None:
        nonlocal taken
        begun = time.monotonic()
        pid = await system.kill("front-v1-0", "proxy")

        async def lives() -> bool:
            row = await system.row("front-v1-0", "proxy")
            return row["pid"] not in (0, pid) and await admin(system, "sidecar/default/front-v1-0", "ready") == "LIVE"

        await system.until(lives, "another Envoy serves")
        taken = time.monotonic() - begun

    load = await system.during(CALL, seconds, act, rate=rate)
    return Outcome({"restarted_seconds": taken, "requests": load.sent, "failed_meanwhile": load.failed}, load)


async def proxies_upgraded(system: System, *, seconds: float = 12, rate: int = RATE) -> Outcome:
    """C9: every Envoy is replaced by a new process, all at once; ``same``: how many were not."""
    await ready(system)
    before = await pids(system, "proxy", "gateway")

    async def upgrade(node: str) -> None:
        await system.ask_agent(f"/v1/proxies/{node}/upgrade", "POST")

    async def act() -> None:
        async with anyio.create_task_group() as tasks:
            for node in await node_names(system):
                tasks.start_soon(upgrade, node)

    load = await system.during(CALL, seconds, act, rate=rate)
    now = await pids(system, "proxy", "gateway")
    return loaded(load, same=sum(now.get(key) == pid for key, pid in before.items()))


async def agent_killed(system: System, *, away: float, rate: int = RATE) -> Outcome:
    """C11: ``kill -9`` of the agent, started again after ``away`` seconds.

    ``not_adopted``: processes that have another number than before; ``surplus``: Envoys more than there were.
    """
    await ready(system)
    before, envoys = await pids(system, "app", "proxy", "gateway"), count_envoys(system)

    async def act() -> None:
        await system.kill_agent()
        await anyio.sleep(away)
        await system.start()
        await system.until(lambda: serving(system, "front-v1-0", "back-v1-0"), "the agent is back")

    load = await system.during(CALL, away + 4, act, rate=rate)
    await until_connected(system)
    now = await pids(system, "app", "proxy", "gateway")
    changed = {key: pid for key, pid in before.items() if now.get(key) != pid}
    return loaded(load, changed, not_adopted=len(changed), surplus=count_envoys(system) - envoys)


def count_envoys(system: System) -> int:
    return sum("--restart-epoch" in command for command in system.left().values())


SCENARIOS: Final[dict[str, Callable[[System], Awaitable[Outcome]]]] = {
    "C1": endpoint_dies,
    "C2": scaled_down,
    "C3": scaled_up,
    "C4": all_endpoints_die,
    "C8": envoy_killed,
    "C9": proxies_upgraded,
    "C10": workload_stopped,
}
