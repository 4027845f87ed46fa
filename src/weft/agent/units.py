"""Everything that runs on this host, made to match what control wants: new ones started, old ones stopped, changed
ones rolled.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from weft.agent import accounts
from weft.agent.edge import EGRESS_NAMESPACE, Edge, load_edges
from weft.agent.instance import Instance, load_plans, make_plan, needs_restart
from weft.agent.machine import Row
from weft.agent.registered import Registered, load_registered
from weft.latest import Latest
from weft.model.mesh import OutboundTraffic
from weft.model.service import Capture, Placement
from weft.names import node_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anyio.abc import TaskGroup

    from weft.agent.control import Control, Names
    from weft.agent.machine import Machine, Unit
    from weft.model.mesh import GatewaySpec, Placements, ProcessSpec

NO_TRANSPARENT: Final = "capture mode transparent does not work here: weft check --pre says why"


class Units:
    """``run`` follows control's placements; the other methods are what ``weft`` asks for by hand.

    A workload has one instance, but two while a changed one takes over: the old one serves until the new one does, so
    that no request fails. A new one that never serves changes nothing but what ``weft ps`` says.
    """

    def __init__(self, machine: Machine, control: Control) -> None:
        self._news: Latest[None] = Latest(None)
        """Set whenever anything changed that a waiting workload may be waiting for."""
        self._machine = replace(machine, changed=lambda: self._tell(machine))
        self._control = control
        self._instances: dict[str, list[Instance]] = {}
        """The live instances of each workload, the oldest first."""
        self._registered: dict[str, Registered] = {}
        """Workloads that something else runs on this host."""
        self._leaving: set[str] = set()
        """Of these and of Gateways, the ones that are being let go: whatever has the same name waits for their files."""
        self._edges: dict[str, Edge] = {}
        self._wanted: dict[str, ProcessSpec] = {}
        self._held_back: set[str] = set()
        """Stopped by hand: not started again until asked by hand."""
        self._refused: dict[str, str] = {}
        """Why what is wanted cannot be started here."""
        self._settling: set[str] = set()
        self._rolling: dict[str, str] = {}
        """Of each version of a service, the workload that is being replaced now: one after the other."""
        self._ending = False
        self._group: TaskGroup | None = None

    def _tell(self, machine: Machine) -> None:
        self._news.set(None)
        machine.changed()

    def load(self) -> None:
        """What an earlier agent ran; its processes are adopted if they still live, and started again if not."""
        plans = load_plans(self._machine.settings.paths.records)
        for plan in sorted(plans, key=lambda plan: plan.generation):
            instance = Instance(plan, self._machine)
            instance.adopt()
            self._instances.setdefault(instance.key, []).append(instance)
            self._wanted[instance.key] = plan.spec
        for spec in load_registered(self._machine.settings.paths.records):
            unit = Registered(spec, self._machine)
            unit.adopt()
            self._registered[unit.key] = unit
        for record in load_edges(self._machine.settings.paths.records):
            edge = Edge(record.placement, record.namespace, record.name, self._machine)
            edge.adopt(record.ports)
            self._edges[edge.key] = edge

    async def look(self) -> None:
        """Find out which of the adopted applications serve, before anything is reported."""
        async with anyio.create_task_group() as group:
            for live in self._instances.values():
                for instance in live:
                    group.start_soon(instance.look)
            for unit in self._registered.values():
                group.start_soon(unit.look)

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            self._group = group
            for unit in self.all():
                group.start_soon(unit.run)
            for key, live in self._instances.items():
                if len(live) > 1:
                    self._attend(key)
            group.start_soon(self._watch_egress)
            serial = -1
            while True:
                serial, placements = await self._control.placements.newer_than(serial)
                if placements is not None:
                    self._reconcile(placements)
                    # Control has come (back) or wants something else; either way it should hear what runs.
                    self._machine.changed()

    def _spawn(self) -> TaskGroup:
        assert self._group is not None  # noqa: S101 - run() is what everything else happens within
        return self._group

    def _reconcile(self, placements: Placements) -> None:
        self._wanted = {f"{spec.namespace}/{spec.name}": spec for spec in placements.processes if spec.command}
        self._held_back &= set(self._wanted)
        for key in {*self._instances, *self._wanted}:
            if [one.plan.spec for one in self._instances.get(key, ())] != [self._wanted.get(key)]:
                self._attend(key)
        self._reconcile_registered()
        self._reconcile_gateways(placements.gateways)

    def _attend(self, key: str) -> None:
        """See to it that this workload becomes what is wanted."""
        if key not in self._settling:
            self._settling.add(key)
            self._spawn().start_soon(self._settle, key)

    async def _settle(self, key: str) -> None:
        """Bring one workload to what is wanted, step by step, looking anew before each: it may change at any time."""
        try:
            while not self._ending:
                serial = self._news.serial
                if await self._step(key):
                    return
                await self._news.newer_than(serial)
        finally:
            self._settling.discard(key)
            for group in [group for group, who in self._rolling.items() if who == key]:
                del self._rolling[group]
            self._news.set(None)

    async def _step(self, key: str) -> bool:
        """One step; whether nothing is left to do."""
        spec = None if key in self._held_back else self._wanted.get(key)
        live = tuple(self._instances.get(key, ()))
        self._refused.pop(key, None)
        if spec is None:
            for one in live:
                await self._remove(one)
            return not live
        fit = [one for one in live if not needs_restart(one.plan.spec, spec)]
        if not fit:
            return await self._begin(key, spec, live)
        chosen = fit[-1]
        if chosen.plan.spec != spec:
            chosen.update(spec)
        others = [one for one in live if one is not chosen]
        if others and chosen.serves:
            for one in others:
                await self._remove(one)
        return not others

    async def _begin(self, key: str, spec: ProcessSpec, live: tuple[Instance, ...]) -> bool:
        """As ``_step``, where no instance is what is wanted: a new one beside the one that serves."""
        if key in self._registered:
            return False
        mode = self._mode(spec)
        if mode is None or (refusal := accounts.refusal(spec.user)):
            self._refused[key] = NO_TRANSPARENT if mode is None else refusal
            self._machine.changed()
            return True
        if len(live) > 1 or (live and not live[-1].serves):
            await self._remove(live[-1])  # one that never served, or does no more: nobody misses it
            return False
        group = f"{spec.namespace}/{spec.service}/{spec.version}"
        if live and self._rolling.setdefault(group, key) != key:
            return False
        try:
            self._start(spec, mode, live[-1].plan.generation + 1 if live else 0)
        except OSError as error:
            self._refused[key] = f"no port for it: {error.strerror}"
            self._machine.changed()
            return True
        return not live

    def _start(self, spec: ProcessSpec, mode: Capture, generation: int) -> None:
        instance = Instance(make_plan(spec, mode, self._machine, generation), self._machine)
        self._instances.setdefault(instance.key, []).append(instance)
        self._spawn().start_soon(instance.run)
        self._machine.changed()

    def _mode(self, spec: ProcessSpec) -> Capture | None:
        """What the user chose, else ``auto``: transparent where this machine can, else by proxy variables. None: what
        was chosen does not work here, and another mode would not be what was asked for.
        """
        chosen = spec.capture or self._machine.settings.capture
        if chosen is None:
            return Capture.TRANSPARENT if self._machine.transparent else Capture.PROXY
        return None if chosen is Capture.TRANSPARENT and not self._machine.transparent else chosen

    async def _remove(self, instance: Instance) -> None:
        await instance.stop(drain=True)
        live = self._instances.get(instance.key, [])
        if instance in live:
            live.remove(instance)
        if not live:
            self._instances.pop(instance.key, None)
            self._reconcile_registered()
        self._machine.changed()

    # what something else runs

    def _reconcile_registered(self) -> None:
        placements = self._control.placements.value
        if placements is None or self._ending:
            return
        wanted = {f"{spec.namespace}/{spec.name}": spec for spec in placements.processes if not spec.command}
        for key, unit in tuple(self._registered.items()):
            spec = wanted.get(key)
            if spec is not None and spec.ports == unit.spec.ports:
                if spec != unit.spec:
                    unit.update(spec)
            elif key not in self._leaving:
                self._leaving.add(key)
                self._spawn().start_soon(self._let_go, unit)
        for key, spec in wanted.items():
            # Two of one name, of which one has not ended yet, would have one proxy.
            if key not in self._registered and key not in self._instances:
                self._registered[key] = unit = Registered(spec, self._machine)
                self._spawn().start_soon(unit.run)

    async def _let_go(self, unit: Registered) -> None:
        """Then look again: it may be wanted with other ports, which need another proxy of the same name."""
        await unit.stop(drain=True)
        del self._registered[unit.key]
        self._leaving.discard(unit.key)
        self._reconcile_registered()
        self._machine.changed()

    # proxies without an application

    def _reconcile_gateways(self, specs: tuple[GatewaySpec, ...]) -> None:
        wanted = {node_id(Placement.GATEWAY.value, spec.namespace, spec.name): spec for spec in specs}
        for key, edge in tuple(self._edges.items()):
            if edge.placement is Placement.GATEWAY and key not in wanted:
                self._spawn().start_soon(self._remove_edge, edge)
        for key, spec in wanted.items():
            if key in self._leaving:
                continue
            others = [edge.bound for other, edge in self._edges.items() if other != key]
            edge = self._edges.get(key) or self._start_edge(Placement.GATEWAY, spec.namespace, spec.name)
            edge.want(spec, frozenset().union(*others))

    def _start_edge(self, placement: Placement, namespace: str, name: str) -> Edge:
        edge = Edge(placement, namespace, name, self._machine)
        self._edges[edge.key] = edge
        self._spawn().start_soon(edge.run)
        return edge

    async def _remove_edge(self, edge: Edge) -> None:
        if self._edges.get(edge.key) is edge:
            del self._edges[edge.key]
            self._leaving.add(edge.key)
            await edge.stop(drain=True)
            self._leaving.discard(edge.key)
            placements = self._control.placements.value
            if placements is not None and not self._ending:
                self._reconcile_gateways(placements.gateways)
            self._machine.changed()

    async def _watch_egress(self) -> None:
        """Run the host proxy: on a host with an address from when control first answered, else from when a captured application
        could first call the outside. Never before: a control plane that finds proxies and no store takes that for a loss.
        """
        serial = 0  # the names that there are before anybody said any
        while True:
            serial, names = await self._control.names.newer_than(serial)
            key = node_id(Placement.EGRESS.value, EGRESS_NAMESPACE, self._machine.settings.host)
            settings = self._machine.settings
            wanted = bool(settings.address) or (self._machine.transparent and leads_outside(names))
            if wanted and key not in self._edges:
                self._start_edge(Placement.EGRESS, EGRESS_NAMESPACE, self._machine.settings.host)
                self._machine.changed()

    # what is asked by hand

    def all(self) -> tuple[Unit, ...]:
        instances = (one for live in self._instances.values() for one in live)
        return (*instances, *self._registered.values(), *self._edges.values())

    def captured(self) -> dict[str, Instance]:
        """The instances that live in a namespace of their own, by node id."""
        found = [one for live in self._instances.values() for one in live]
        return {one.node: one for one in found if one.namespace is not None}

    def _named(self) -> dict[str, Instance]:
        """The instances by what they are called here. The one in charge has the workload's name, ``~next`` is the one
        that will take over when it serves, and ``~old`` the one that finishes what it has under way.
        """
        found = {}
        for key, live in self._instances.items():
            chief = next((at for at, one in enumerate(live) if not one.draining), len(live) - 1)
            for at, one in enumerate(live):
                found[key + ("" if at == chief else "~old" if at < chief else "~next")] = one
        return found

    def rows(self) -> tuple[Row, ...]:
        stopped = tuple(
            Row(
                name=spec.name,
                namespace=spec.namespace,
                service=spec.service,
                version=spec.version,
                kind="app",
                state="stopped",
                reason=self._refused.get(key, ""),
            )
            for key, spec in self._wanted.items()
            if key not in self._instances
        )
        others: tuple[Unit, ...] = (*self._edges.values(), *self._registered.values())
        rows = [row for unit in others for row in unit.rows()]
        for name, one in self._named().items():
            note = "takes over when it serves" if name.endswith("~next") else self._refused.get(name, "")
            rows += one.rows(name.partition("/")[2], note)
        return (*sorted(rows, key=lambda row: (row.namespace, row.name, row.kind)), *stopped)

    def find(self, name: str) -> Unit | None:
        """By ``namespace/name``, by node id, or by a name that only one unit has."""
        if name in self._edges:
            return self._edges[name]
        edges: dict[str, Unit] = {f"{edge.namespace}/{edge.name}": edge for edge in self._edges.values()}
        named = {**edges, **self._registered, **self._named()}
        for key, unit in named.items():
            if name == key or (unit.proxy and name == unit.proxy.node):
                return unit
        found = [unit for key, unit in named.items() if key.rpartition("/")[2] == name]
        return found[0] if len(found) == 1 else None

    def log_of(self, name: str, *, proxy: bool) -> Path | None:
        unit = self.find(name)
        if isinstance(unit, Instance) and not proxy:
            return unit.log
        return unit.proxy.log if unit and unit.proxy else None

    def enter(self, name: str) -> dict[str, Any] | None:
        """What ``weft exec`` needs to run a command as if it were the application."""
        unit = self.find(name)
        if not isinstance(unit, Instance):
            return None
        pid = unit.application.pid or (unit.proxy.child.pid if unit.proxy else 0)
        captured = unit.namespace is not None
        return {
            "pid": pid,
            "namespaces": ["user", "net"] if captured else [],
            "environment": unit.environment(),
            "directory": unit.plan.spec.directory,
        }

    async def restart(self, name: str) -> bool:
        unit = self.find(name)
        if unit is None or isinstance(unit, Registered):
            return False  # what something else runs is not ours to restart
        if isinstance(unit, Instance):
            await unit.restart()
        elif unit.proxy:
            await unit.proxy.child.restart(self._machine.settings.grace_seconds)
        return True

    async def stop(self, name: str) -> bool:
        unit = self.find(name)
        if not isinstance(unit, Instance):
            return False
        self._held_back.add(unit.key)
        self._attend(unit.key)
        await self._until(lambda: unit.key not in self._instances or unit.key not in self._held_back)
        return True

    async def start(self, name: str) -> bool:
        """Also says yes to what runs already."""
        for key in self._wanted:
            if name in (key, key.rpartition("/")[2]):
                self._held_back.discard(key)
                self._attend(key)
                await self._until(lambda key=key: key in self._instances or key in self._refused)  # type: ignore[misc]
                return True
        return False

    async def _until(self, look: Callable[[], bool]) -> None:
        self._news.set(None)
        while not look():
            await self._news.newer_than(self._news.serial)

    async def stop_all(self) -> None:
        """Applications and their proxies at once, then the edges, by which they may still have called out. Where other hosts call
        them, those hear of it first, and what they asked is answered.
        """
        self._ending = True
        drain = bool(self._machine.settings.address)
        instances = (one for live in self._instances.values() for one in live)
        workloads: tuple[Unit, ...] = (*instances, *self._registered.values())
        for units, drains in ((workloads, drain), (tuple(self._edges.values()), False)):
            async with anyio.create_task_group() as group:
                for unit in units:
                    group.start_soon(partial(unit.stop, drain=drains))


def leads_outside(names: Names) -> bool:
    """Whether any name is that of something outside the mesh."""
    return bool(names.hosts) or names.outbound_traffic == OutboundTraffic.ALLOW_ANY.value
