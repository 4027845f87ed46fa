"""What the HTTP API asks of the control plane, answered from the last settled state and the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import anyio
from anyio import to_thread

from weft.control import gateways, metrics, refusals
from weft.control.services import services_of
from weft.envoy import api
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.errors import Problem
from weft.latest import Latest
from weft.model.mesh import Placements
from weft.values import Origin, Ref
from weft.web.engine import Names, ProxyDiff, ResourceChange, Shown
from weft.xds.protocol import SEND_ORDER
from weft.xds.wire import encode_response, varint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.control.pipeline import Pipeline
    from weft.control.settle import Settled, Settler
    from weft.identity.service import TrustService
    from weft.model.mesh import Mesh
    from weft.model.status import Status
    from weft.sources.jwks import KeyFetcher
    from weft.sources.publish import Publisher
    from weft.sources.records import Record, World
    from weft.web.engine import ServiceShown
    from weft.xds.fleet import Fleet
    from weft.xds.protocol import Refusal, Resource, ResourceSet
    from weft.xds.status import NodeStatus

T = TypeVar("T")

ORIGIN: Final = Origin("weft-control")
MAX_HOSTS: Final = 10_000
"""Hosts whose placements are kept up to date; one more is answered, and learns of no change."""


class ControlEngine:
    """Implements ``weft.web.engine.Engine``. ``xds_open`` is set by whoever opens the xDS socket. ``host`` is the one that
    control runs on, and with it whatever is placed on no other; empty: every host runs that.
    """

    def __init__(
        self, publisher: Publisher, fleet: Fleet, settler: Settler, pipeline: Pipeline, host: str = ""
    ) -> None:
        self.xds_open = False
        self.keys: KeyFetcher | None = None
        self.trust: TrustService | None = None
        self._host = host
        self._publisher = publisher
        self._fleet = fleet
        self._settler = settler
        self._pipeline = pipeline
        self._settled: Latest[int] = Latest(0)
        self._placements: dict[str, Latest[Placements | None]] = {}
        self._names: Latest[Names | None] = Latest(None)

    async def follow(self) -> None:
        """Keep what others watch in step with the settled state, until cancelled."""
        serial, mesh = -1, None
        while True:
            serial, settled = await self._settler.settled.newer_than(serial)
            if settled is None:
                continue
            if settled.compiled.mesh is not mesh:
                mesh = settled.compiled.mesh
                for host, cell in self._placements.items():
                    _put(cell, placed(mesh.placements, host, self._host))
                _put(self._names, names_of(mesh))
            _put(self._settled, settled.world.revision)

    def problems(self) -> tuple[Problem, ...]:
        settled = self._settler.settled.value
        if settled is None:
            return ()
        built = dict.fromkeys(problem for each in settled.built.values() for problem in each.problems)
        proxies = self.proxies()
        refused = refusals.problems(_blamed(settled, proxies))
        return (*settled.compiled.problems, *built, *refused, *refusals.withheld(proxies))

    def statuses(self) -> Mapping[Ref, Status]:
        settled = self._settler.settled.value
        if settled is None:
            return {}
        proxies = self.proxies()
        compiled = gateways.located({status.ref: status for status in settled.compiled.statuses}, settled.compiled.mesh)
        return refusals.programmed(compiled, _blamed(settled, proxies), proxies)

    def settled(self) -> Latest[int]:
        return self._settled

    def proxies(self) -> tuple[NodeStatus, ...]:
        return self._fleet.status()

    def resources(self, node: str, kind: str, state: str) -> tuple[Shown, ...] | None:
        found = self._held(node) if state == "held" else self._wanted(node)
        if found is None:
            return None
        return tuple(
            _shown(type_url, resource)
            for type_url in SEND_ORDER
            for resource in found.get(type_url, ())
            if resource.wire and kind in ("", refusals.short_type(type_url))
        )

    def _held(self, node: str) -> Mapping[str, tuple[Resource, ...]] | None:
        return self._fleet.held(node)

    def _wanted(self, node: str) -> dict[str, tuple[Resource, ...]] | None:
        settled = self._settler.settled.value
        built = settled.built.get(node) if settled else None
        if built is None:
            return None
        return {url: tuple(named[name] for name in sorted(named)) for url, named in built.resources.types.items()}

    def held(self, node: str) -> bytes | None:
        """One ``DeltaDiscoveryResponse`` per type in send order, each behind its length as a varint."""
        found = self._fleet.held(node)
        if found is None:
            return None
        parts = []
        for type_url in SEND_ORDER:
            wires = [resource.wire for resource in found.get(type_url, ()) if resource.wire]
            response = encode_response(type_url, "", wires, ())
            parts += [varint(len(response)), response]
        return b"".join(parts)

    async def preview(self, world: World) -> Mesh:
        async with self._settler.turn:
            return (await to_thread.run_sync(self._pipeline.preview, world)).mesh

    async def diff(self, world: World) -> tuple[ProxyDiff, ...]:
        async with self._settler.turn:
            settled = self._settler.settled.value
            if settled is None:
                return ()
            demands = {node: demand for node in self._fleet.nodes() if (demand := self._fleet.demand(node)) is not None}
            compiled = await to_thread.run_sync(self._pipeline.preview, world)
            built = await to_thread.run_sync(self._pipeline.build, compiled.mesh, demands)
        diffs = []
        for node, each in sorted(built.items()):
            before = settled.built.get(node)
            changes = changes_between(before.resources if before else None, each.resources)
            if changes:
                diffs.append(ProxyDiff(node, changes))
        return tuple(diffs)

    def placements(self, host: str) -> Latest[Placements | None]:
        cell = self._placements.get(host)
        if cell is None:
            settled = self._settler.settled.value
            cell = Latest(placed(settled.compiled.mesh.placements, host, self._host) if settled else None)
            if len(self._placements) < MAX_HOSTS:
                self._placements[host] = cell
        return cell

    def names(self) -> Latest[Names | None]:
        return self._names

    def mesh(self) -> Mesh | None:
        settled = self._settler.settled.value
        return settled.compiled.mesh if settled else None

    def services(self) -> tuple[ServiceShown, ...]:
        settled = self._settler.settled.value
        return services_of(settled.compiled.mesh) if settled else ()

    def not_ready(self) -> tuple[Problem, ...]:
        waiting = [f"source {name} has not been read" for name in self._publisher.waiting]
        if not waiting and self._settler.settled.value is None:
            waiting = ["nothing has been compiled yet"]
        if not waiting and not self.xds_open:
            waiting = ["the xDS socket is not open"]
        return tuple(
            Problem(code="WFT-1520", message=text, remedy="Wait, or look at: weft logs weft-control", origin=ORIGIN)
            for text in waiting
        )

    def confirm_removals(self, node: str) -> int:
        return self._fleet.confirm_removals(node)

    def metrics(self) -> str:
        return metrics.text(self._settler, self._fleet, self.keys, self.trust)

    async def acknowledged(self, revision: int, seconds: float) -> bool:
        """Whether every connected proxy answered ``revision`` or a later one within ``seconds``."""
        with anyio.move_on_after(seconds):
            serial = -1
            while True:
                serial, settled = await self._settled.newer_than(serial)
                if settled >= revision:
                    break
            await self._fleet.settled(revision)
            return True
        return False


def placed(placements: Placements, host: str, own: str) -> Placements:
    """What one host runs of all. What no host was named for runs on control's ``own``."""
    here = (host, "") if own in ("", host) else (host,)
    processes = tuple(each for each in placements.processes if each.host in here)
    return Placements(processes, tuple(each for each in placements.gateways if each.host in here))


def _put(cell: Latest[T], value: T) -> None:
    if value != cell.value:
        cell.set(value)


def names_of(mesh: Mesh) -> Names:
    """What resolves: every service's and every external name's virtual address. Wildcards stay with the proxies."""
    services = mesh.services
    return Names(
        services={str(key): services[key].virtual_address for key in sorted(services) if not services[key].external},
        hosts={name: services[key].virtual_address for name, key in sorted(mesh.external_hosts.items())},
        outbound_traffic=mesh.outbound_traffic.value,
    )


def changes_between(before: ResourceSet | None, after: ResourceSet) -> tuple[ResourceChange, ...]:
    """What a proxy that has ``before`` would be sent to have ``after``."""
    changes = []
    for type_url in SEND_ORDER:
        old = before.of(type_url) if before else {}
        new = after.of(type_url)
        kind = refusals.short_type(type_url)
        for name in sorted(old.keys() | new.keys()):
            was, now = old.get(name), new.get(name)
            if was is None and now is not None:
                changes.append(ResourceChange("added", kind, name, now.source))
            elif now is None and was is not None:
                changes.append(ResourceChange("removed", kind, name, was.source))
            elif was is not None and now is not None and was.version != now.version:
                changes.append(ResourceChange("changed", kind, name, now.source))
    return tuple(changes)


def _blamed(settled: Settled, proxies: tuple[NodeStatus, ...]) -> tuple[refusals.Blamed, ...]:
    def sources(refusal: Refusal) -> tuple[str, ...]:
        built = settled.built.get(refusal.node)
        wanted = built.resources.of(refusal.type_url).get(refusal.name) if built else None
        return refusals.sources(refusal, wanted)

    return refusals.blame(proxies, _by_path(settled), sources)


def _by_path(settled: Settled) -> dict[str, Record]:
    return {record.ref.path: record for record in settled.world.records}


def _shown(type_url: str, resource: Resource) -> Shown:
    message = discovery.Resource.FromString(resource.wire)
    inside = api.unpack(message.resource)
    return Shown(
        type=refusals.short_type(type_url),
        name=resource.name,
        version=resource.version,
        source=resource.source,
        resource=api.to_json(inside) if inside is not None else {},
    )
