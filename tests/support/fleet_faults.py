"""Many proxies at once, and one that misbehaves: promises A6 and A14, with a real control plane and synthetic proxies."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from benchmarks.end_to_end import SERVICES, Plane, plane, report, route
from tests.support.faults import Outcome
from tests.support.synthetic import clients
from weft.xds.status import SyncState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KINDS: Final = 4
"""Clusters, listeners, virtual hosts, endpoints."""

PATIENCE_SECONDS: Final = 60.0


async def _until(true: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> float:
    begun = time.perf_counter()
    with anyio.fail_after(seconds):
        while not true():
            await anyio.lowlevel.checkpoint()
    return time.perf_counter() - begun


def _answered(made: Plane, count: int, revision: int) -> bool:
    """Whether so many proxies are connected and hold all that they shall."""
    found = [each for each in made.control.fleet.status() if each.connected]
    return len(found) == count and all(
        each.acknowledged_revision >= revision
        and len(each.types) == KINDS
        and all(one.state is SyncState.SYNCED and one.held for one in each.types)
        for each in found
    )


async def all_reconnect(directory: Path, *, count: int) -> Outcome:
    """A6: so many proxies, all with nothing in their hands, open their streams at once, twice.

    ``acked_seconds``: from the word to connect until the last of them acknowledged everything; the second time counts.
    """
    async with plane(directory) as made:
        await made.apply(SERVICES)
        revision = await made.apply(route(50))
        await made.report(report(directory, count))
        socket = made.control.settings.paths.xds_socket
        taken = 0.0
        for _ in range(2):
            async with clients(socket, count) as many:
                many.connect()
                begun = time.perf_counter()
                while not _answered(made, count, revision):
                    if time.perf_counter() - begun > PATIENCE_SECONDS:
                        raise AssertionError("not all of them were served")
                    await anyio.sleep(0.02)
                taken = time.perf_counter() - begun
            await _until(lambda: not made.control.fleet.nodes())
    return Outcome({"proxies": count, "acked_seconds": taken})


async def one_misbehaves(directory: Path, mode: str, *, count: int = 20, changes: int = 30, turns: int = 4) -> Outcome:
    """A14: besides ``count`` good proxies one that refuses everything (``nack``) or answers nothing (``silent``).

    ``slower``: by what share the median time from an apply to the last ACK of the good ones grows. Half of the changes
    happen without the bad one, in turns, so that what else this machine does weighs on both.
    """
    times: dict[bool, list[float]] = {False: [], True: []}
    async with plane(directory) as made:
        await made.apply(SERVICES + route(50))
        await made.report(report(directory, count + 1))
        fleet, socket = made.control.fleet, made.control.settings.paths.xds_socket
        async with clients(socket, count) as good:
            good.connect()
            revision = await made.apply(route(51))
            await _until(lambda: _answered(made, count, revision))
            weight = 0

            async def change() -> float:
                nonlocal weight
                weight += 1
                before = fleet.counts["acknowledged"]
                begun = time.perf_counter()
                await made.apply(route(1 + weight % 98))
                await _until(lambda: fleet.counts["acknowledged"] >= before + count)
                return time.perf_counter() - begun

            for turn in range(2 * turns):
                bad = turn % 2 == 1
                if not bad:
                    times[bad] += [await change() for _ in range(changes // turns)]
                    continue
                async with clients(socket, 1, mode, first=count) as one:
                    one.connect()
                    await _until(lambda: len(fleet.nodes()) == count + 1)
                    times[bad] += [await change() for _ in range(changes // turns)]
                await _until(lambda: len(fleet.nodes()) == count)
    alone, beside = statistics.median(times[False]), statistics.median(times[True])
    return Outcome({"slower": beside / alone - 1, "worst_seconds": max(times[True])})
