"""Each promise by its id: how one run of it is made, and the targets of its figures."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tests.support import clocks, control_faults, data_faults, fleet_faults, host_faults, hosts
from tests.support.faults import Outcome
from tests.support.system import RATE, running

if TYPE_CHECKING:
    from tests.support.system import System


class Row(msgspec.Struct, frozen=True):
    """``limits``: the figures that are promised, each with the largest good value. ``run`` makes one run."""

    limits: dict[str, float]
    run: Callable[[], Awaitable[Outcome]]


def _control(act: Callable[[System], Awaitable[Outcome]]) -> Callable[[], Awaitable[Outcome]]:
    async def run() -> Outcome:
        async with running(control="false") as system:
            return await act(system)

    return run


def _data(act: Callable[[System], Awaitable[Outcome]]) -> Callable[[], Awaitable[Outcome]]:
    async def run() -> Outcome:
        async with running(data_faults.MESH) as system:
            return await act(system)

    return run


def _hosts(count: int, capture: str, *, seconds: float, rotations: int) -> Callable[[], Awaitable[Outcome]]:
    async def run() -> Outcome:
        async with hosts.rig(host_faults.mesh(hosts.NAMES[:count], capture), count) as rig:
            return await host_faults.root_rotated(rig, seconds=seconds, rate=RATE, rotations=rotations)

    return run


async def _clocks() -> Outcome:
    found = []
    for off in (300, -300):
        with tempfile.TemporaryDirectory(prefix="weft-") as directory:
            shifted = {hosts.NAMES[1]: clocks.environ(Path(directory), off)}
            async with hosts.rig(host_faults.both_ways(hosts.NAMES[1]), 2, clocks=shifted) as rig:
                found.append(await host_faults.clock_off(rig, hosts.NAMES[1], seconds=10, rate=RATE))
    return worst(found)


async def _stores(system: System) -> Outcome:
    found = [await control_faults.bad_store(system, spoil, seconds=3) for spoil in control_faults.STORES.values()]
    return worst(found)


async def _fleet() -> Outcome:
    with tempfile.TemporaryDirectory(prefix="weft-") as directory:
        return await fleet_faults.all_reconnect(Path(directory), count=500)


async def _misbehaving() -> Outcome:
    found = []
    for mode in ("nack", "silent"):
        with tempfile.TemporaryDirectory(prefix="weft-") as directory:
            one = await fleet_faults.one_misbehaves(Path(directory), mode, changes=200, turns=10)
        found.append(Outcome({f"{name}_{mode}": value for name, value in one.figures.items()}))
    return worst(found)


def worst(found: list[Outcome]) -> Outcome:
    """The largest of each figure; the requests of all runs together."""
    figures: dict[str, float] = {}
    for outcome in found:
        for name, value in outcome.figures.items():
            figures[name] = figures.get(name, 0) + value if name == "requests" else max(figures.get(name, value), value)
    notes = [str(outcome) for outcome in found if outcome.note or (outcome.load and outcome.load.failed)]
    return Outcome(figures, note="; ".join(notes)[:2000])


ROWS: Final[dict[str, Row]] = {
    "A1": Row(
        {"failed": 0, "reconnect_seconds": 5, "resources_sent": 0}, _control(lambda s: control_faults.killed(s, away=8))
    ),
    "A3": Row({"removed": 0, "failed": 0, "ended": 0}, _control(_stores)),
    "A4": Row(
        {"detected_seconds": 10, "reconnect_seconds": 5, "failed": 0},
        _control(lambda s: control_faults.hangs(s, seconds=60)),
    ),
    "A5": Row({"updates": 0, "failed": 0}, _control(lambda s: control_faults.crash_loop(s, times=20))),
    "A6": Row({"acked_seconds": 20}, _fleet),
    "A13": Row({"ready_seconds": 3, "failed": 0}, _control(lambda s: control_faults.proxy_starts_alone(s, seconds=10))),
    "A14": Row({"slower_nack": 0.1, "slower_silent": 0.1}, _misbehaving),
    "C1": Row({"beyond_in_flight": 0}, _data(data_faults.endpoint_dies)),
    "C2": Row({"failed": 0}, _data(data_faults.scaled_down)),
    "C3": Row({"failed": 0, "idle": 0}, _data(data_faults.scaled_up)),
    "C4": Row({"recovered_seconds": 1}, _data(data_faults.all_endpoints_die)),
    "C7": Row({"failed": 0}, _data(lambda s: data_faults.source_says_nothing(s, seconds=60))),
    "C8": Row({"restarted_seconds": 2}, _data(data_faults.envoy_killed)),
    "C9": Row({"failed": 0, "same": 0}, _data(data_faults.proxies_upgraded)),
    "C10": Row({"failed": 0}, _data(data_faults.workload_stopped)),
    "C11": Row({"failed": 0, "not_adopted": 0, "surplus": 0}, _data(lambda s: data_faults.agent_killed(s, away=60))),
    "E12": Row(
        {"failed": 0, "cut": 0, "old_accepted": 0, "unloaded_seconds": 0}, _hosts(2, "proxy", seconds=400, rotations=20)
    ),
    "E13": Row(
        {"failed": 0, "cut": 0, "old_accepted": 0, "unloaded_seconds": 0},
        _hosts(3, "transparent", seconds=30, rotations=1),
    ),
    "E17": Row({"failed": 0}, _clocks),
}
