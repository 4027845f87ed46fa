"""Everything that runs on this host, made to match what control wants: new ones started, old ones stopped, changed
ones rolled.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from weft.agent.edge import EGRESS_NAMESPACE, Edge, load_records
from weft.agent.instance import Instance, load_plans, make_plan, needs_restart
from weft.agent.machine import Row
from weft.model.mesh import OutboundTraffic
from weft.model.service import Capture, Placement, State
from weft.names import node_id

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.abc import TaskGroup

    from weft.agent.control import Control, Names
    from weft.agent.machine import Machine, Unit
    from weft.model.mesh import GatewaySpec, Placements, ProcessSpec

ROLL_SECONDS: Final = 30.0
"""How long the successor of a changed instance may take to serve before the next one of its service is rolled."""


class Units:
    """``run`` follows control's placements; the other methods are what ``weft`` asks for by hand."""

    def __init__(self, machine: Machine, control: Control) -> None:
        self._machine = machine
        self._control = control
        self._instances: dict[str, Instance] = {}
        self._edges: dict[str, Edge] = {}
        self._wanted: dict[str, ProcessSpec] = {}
        self._held_back: set[str] = set()
        """Stopped by hand: not started again until asked by hand."""
        self._rolling: dict[str, anyio.Lock] = {}
        self._busy: dict[str, anyio.Lock] = {}
        self._group: TaskGroup | None = None

    def load(self) -> None:
        """What an earlier agent ran; its processes are adopted if they still live, and started again if not."""
        for plan in load_plans(self._machine.settings.paths.records):
            instance = Instance(plan, self._machine)
            instance.adopt()
            self._instances[instance.key] = instance
            self._wanted[instance.key] = plan.spec
        for record in load_records(self._machine.settings.paths.records):
            edge = Edge(record.placement, record.namespace, record.name, self._machine)
            edge.adopt(record.ports)
            self._edges[edge.key] = edge

    async def look(self) -> None:
        """Find out which of the adopted applications serve, before anything is reported."""
        async with anyio.create_task_group() as group:
            for instance in self._instances.values():
                group.start_soon(instance.look)

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            self._group = group
            for unit in self.all():
                group.start_soon(unit.run)
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
        self._wanted = {f"{spec.namespace}/{spec.name}": spec for spec in placements.processes}
        self._held_back &= set(self._wanted)
        for key in {*self._instances, *self._wanted}:
            if self._differs(key):
                self._spawn().start_soon(self._settle, key)
        self._reconcile_gateways(placements.gateways)

    def _differs(self, key: str) -> bool:
        instance, spec = self._instances.get(key), self._wanted.get(key)
        return (instance.plan.spec if instance else None) != spec

    async def _settle(self, key: str) -> None:
        """Bring one instance to what is wanted now. Changed ones of a service go one after the other."""
        async with self._busy.setdefault(key, anyio.Lock()):
            instance, spec = self._instances.get(key), self._wanted.get(key)
            if instance is None:
                if spec is not None and key not in self._held_back:
                    self._start(spec)
            elif spec is None:
                await self._remove(instance, drain=True)
            elif not needs_restart(instance.plan.spec, spec) or instance.plan.spec == spec:
                instance.update(spec)
            else:
                async with self._rolling.setdefault(f"{spec.namespace}/{spec.service}", anyio.Lock()):
                    await self._replace(instance, key)

    async def _replace(self, instance: Instance, key: str) -> None:
        await self._remove(instance, drain=True)
        spec = self._wanted.get(key)
        if spec is None:
            return
        successor = self._start(spec)
        with anyio.move_on_after(ROLL_SECONDS):
            serial = -1
            while successor.state() is not State.SERVING:
                serial, _ = await successor.states.newer_than(serial)

    def _start(self, spec: ProcessSpec) -> Instance:
        instance = Instance(make_plan(spec, self._mode(spec), self._machine), self._machine)
        self._instances[instance.key] = instance
        self._spawn().start_soon(instance.run)
        self._machine.changed()
        return instance

    def _mode(self, spec: ProcessSpec) -> Capture:
        """What the user chose, else ``auto``: transparent where this machine can, else by proxy variables."""
        chosen = spec.capture or self._machine.settings.capture
        if chosen is None or (chosen is Capture.TRANSPARENT and not self._machine.transparent):
            return Capture.TRANSPARENT if self._machine.transparent else Capture.PROXY
        return chosen

    async def _remove(self, instance: Instance, *, drain: bool) -> None:
        await instance.stop(drain=drain)
        if self._instances.get(instance.key) is instance:
            del self._instances[instance.key]
        self._machine.changed()

    # proxies without an application

    def _reconcile_gateways(self, specs: tuple[GatewaySpec, ...]) -> None:
        wanted = {node_id(Placement.GATEWAY.value, spec.namespace, spec.name): spec for spec in specs}
        for key, edge in tuple(self._edges.items()):
            if edge.placement is Placement.GATEWAY and key not in wanted:
                self._spawn().start_soon(self._remove_edge, edge)
        for key, spec in wanted.items():
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
            await edge.stop(drain=True)
            self._machine.changed()

    async def _watch_egress(self) -> None:
        """Run the egress proxy from when a captured application could first call the outside."""
        serial = -1
        while True:
            serial, names = await self._control.names.newer_than(serial)
            key = node_id(Placement.EGRESS.value, EGRESS_NAMESPACE, self._machine.settings.host)
            if self._machine.transparent and leads_outside(names) and key not in self._edges:
                self._start_edge(Placement.EGRESS, EGRESS_NAMESPACE, self._machine.settings.host)
                self._machine.changed()

    # what is asked by hand

    def all(self) -> tuple[Unit, ...]:
        return (*self._instances.values(), *self._edges.values())

    def captured(self) -> dict[str, Instance]:
        """The instances that live in a namespace of their own."""
        return {key: instance for key, instance in self._instances.items() if instance.namespace is not None}

    def rows(self) -> tuple[Row, ...]:
        waiting = [spec for key, spec in self._wanted.items() if key not in self._instances]
        stopped = tuple(
            Row(
                name=spec.name,
                namespace=spec.namespace,
                service=spec.service,
                version=spec.version,
                kind="app",
                state="stopped",
            )
            for spec in waiting
        )
        rows = [row for unit in self.all() for row in unit.rows()]
        return (*sorted(rows, key=lambda row: (row.namespace, row.name, row.kind)), *stopped)

    def find(self, name: str) -> Unit | None:
        """By ``namespace/name``, by node id, or by a name that only one unit has."""
        for unit in self.all():
            if name == unit.key or (unit.proxy and name == unit.proxy.node):
                return unit
        found = [unit for unit in self.all() if unit.key.rpartition("/")[2] == name]
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
        if isinstance(unit, Instance):
            await unit.restart()
        elif unit and unit.proxy:
            await unit.proxy.child.restart(self._machine.settings.grace_seconds)
        return unit is not None

    async def stop(self, name: str) -> bool:
        unit = self.find(name)
        if not isinstance(unit, Instance):
            return False
        self._held_back.add(unit.key)
        async with self._busy.setdefault(unit.key, anyio.Lock()):
            await self._remove(unit, drain=True)
        return True

    async def start(self, name: str) -> bool:
        """Also says yes to what runs already."""
        for key in self._wanted:
            if name in (key, key.rpartition("/")[2]):
                self._held_back.discard(key)
                await self._settle(key)
                return True
        return False

    async def stop_all(self) -> None:
        """Applications and their proxies at once, then the edges, by which they may still have called out."""
        async with anyio.create_task_group() as group:
            for instance in self._instances.values():
                group.start_soon(partial(instance.stop, drain=False))
        async with anyio.create_task_group() as group:
            for edge in self._edges.values():
                group.start_soon(partial(edge.stop, drain=False))


def leads_outside(names: Names) -> bool:
    """Whether any name is that of something outside the mesh."""
    return bool(names.hosts) or names.outbound_traffic == OutboundTraffic.ALLOW_ANY.value
