"""Settling: whenever the world or what a proxy asks for changes, compile, build and offer, at once and never twice.

There is no timer but one bound. Changes that arrive while a build runs are found merged when it ends; a proxy that has
not answered yet is offered one merged state when it has (``xds.stream``). Nothing is offered before every source has
been read once.

Whoever asks for more names than an application does (``MANY``) is built for last, alone, and beside the event loop: its names are
its own affair, and the changes of all others do not wait for them.

A policy about connections takes two steps (``epochs``): callees first, and when they have answered, callers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import msgspec
from anyio import to_thread

from weft.control.epochs import Epochs
from weft.dialects.values import Compiled
from weft.envoy.build import Built
from weft.latest import Latest
from weft.sources.records import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from weft.control.pipeline import Pipeline
    from weft.model.mesh import Mesh
    from weft.model.view import Demand
    from weft.sources.publish import Publisher
    from weft.xds.fleet import Fleet


SMALL: Final = 200
"""Records and proxies of a mesh that is made in about 0.1 s even from nothing. To change threads and back twice costs each
settling of it 0.3 ms of 2, and spares the streams nothing that they would notice."""

MANY: Final = 500
"""Names that one proxy asks for. What they take, about 2 ms, nobody notices."""

CALLEES_SECONDS: Final = 1.0
"""So long callers wait for the callees of a changed policy: one that hangs may not keep the others from it."""

MOST_CHANGES: Final = 5
"""So often the wait begins anew, because what is wanted changed meanwhile: who answered had not heard of it."""

ACTIVE_SECONDS: Final = 0.05
"""From Envoy's ACK of a listener until its workers use it."""

T = TypeVar("T")


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What the last run made of the world. ``built`` holds the last resources of every connected proxy."""

    world: World
    compiled: Compiled
    built: Mapping[str, Built]
    seconds: float
    """How long the run took, from its begin to the last offer."""


class Settler:
    """The control loop. ``settled`` is None until the first run; ``runs`` counts them, for metrics."""

    def __init__(self, publisher: Publisher, fleet: Fleet, pipeline: Pipeline) -> None:
        self.settled: Latest[Settled | None] = Latest(None)
        self.runs = 0
        self.turn = anyio.Lock()
        """Whoever else uses the pipeline holds this meanwhile."""
        self._publisher = publisher
        self._fleet = fleet
        self._pipeline = pipeline
        self._wake: Latest[None] = Latest(None)
        self._epochs = Epochs()
        self._held_back: Latest[None] = Latest(None)
        self._again = False

    async def run(self) -> None:
        """Settle until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow, self._publisher.latest)
            tasks.start_soon(self._follow, self._fleet.demands)
            tasks.start_soon(self._release)
            await self._loop()

    async def _follow(self, source: Latest[World] | Latest[int]) -> None:
        serial = -1
        while True:
            serial, _ = await source.newer_than(serial)
            self._wake.set(None)

    async def _release(self) -> None:
        """Tell callers of new epochs when every callee has answered (bounded)."""
        serial = self._held_back.serial
        while True:
            serial, _ = await self._held_back.newer_than(serial)
            for _ in range(MOST_CHANGES):
                changes = self._epochs.changes
                with anyio.move_on_after(CALLEES_SECONDS):
                    await self._fleet.answered()
                await anyio.sleep(ACTIVE_SECONDS)
                if changes == self._epochs.changes:
                    break
            self._epochs.release()
            self._again = True
            self._wake.set(None)

    async def _loop(self) -> None:
        serial, done = -1, -1
        while True:
            serial, _ = await self._wake.newer_than(serial)
            latest = self._publisher.latest
            if not latest.value.synced:
                continue
            async with self.turn:
                if latest.serial != done or self._again:
                    done, self._again = latest.serial, False
                    await self._everything(latest.value)
                else:
                    await self._demands()

    async def _everything(self, world: World) -> None:
        begun = perf_counter()
        here = len(world.records) + len(self._fleet.nodes()) <= SMALL
        compiled = await _run(partial(self._pipeline.compile, world), here=here)
        if (mesh := self._epochs.held_back(compiled.mesh)) is not compiled.mesh:
            compiled = msgspec.structs.replace(compiled, mesh=mesh)
        self._fleet.take_changes()
        demands = {node: demand for node in self._fleet.nodes() if (demand := self._fleet.demand(node)) is not None}
        few, many = _by_names(demands)
        built = await _run(partial(self._pipeline.build, compiled.mesh, few), here=here)
        self._offer(built, few, world.revision)
        built |= await self._build_alone(compiled.mesh, many, world.revision)
        self._pipeline.forget()
        self._done(world, compiled, built, begun)
        if self._epochs.waiting:
            self._held_back.set(None)

    async def _demands(self) -> None:
        """The world is as it was: only those whose demand changed need anything."""
        begun = perf_counter()
        settled = self.settled.value
        changes = self._fleet.take_changes()
        if settled is None or not changes:
            return
        demands = {node: demand for node, demand in changes.items() if demand is not None}
        few, many = _by_names(demands)
        built = self._pipeline.build(settled.compiled.mesh, few)
        self._offer(built, few, settled.world.revision)
        built |= await self._build_alone(settled.compiled.mesh, many, settled.world.revision)
        gone = changes.keys() - demands.keys()
        kept = {node: each for node, each in settled.built.items() if node not in gone}
        self._done(settled.world, settled.compiled, {**kept, **built}, begun)

    async def _build_alone(self, mesh: Mesh, demands: Mapping[str, Demand], revision: int) -> dict[str, Built]:
        """One proxy after the other, with the event loop free in between."""
        made: dict[str, Built] = {}
        for node, demand in demands.items():
            built = await _run(partial(self._pipeline.build, mesh, {node: demand}), here=False)
            self._offer(built, demands, revision)
            made |= built
        return made

    def _offer(self, built: Mapping[str, Built], demands: Mapping[str, Demand], revision: int) -> None:
        for node, each in built.items():
            self._fleet.offer(node, each.resources, demands[node], revision)

    def _done(self, world: World, compiled: Compiled, built: Mapping[str, Built], begun: float) -> None:
        self.runs += 1
        self.settled.set(Settled(world=world, compiled=compiled, built=built, seconds=perf_counter() - begun))


def _by_names(demands: Mapping[str, Demand]) -> tuple[dict[str, Demand], dict[str, Demand]]:
    """Those that ask for few names, and those that ask for many, the fewest first."""
    sizes = {node: len(demand.hosts) + len(demand.clusters) for node, demand in demands.items()}
    few = {node: demand for node, demand in demands.items() if sizes[node] <= MANY}
    many = sorted((node for node in demands if sizes[node] > MANY), key=lambda node: sizes[node])
    return few, {node: demands[node] for node in many}


async def _run(work: Callable[[], T], *, here: bool) -> T:
    """``work``, in a worker thread unless ``here``."""
    return work() if here else await to_thread.run_sync(work)
