"""Proxies that stand beside no application: a gateway's at the edge, and the host proxy, which is the way out of captured
namespaces and between hosts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import msgspec

from weft import names
from weft.agent import listening, ports, records
from weft.agent.machine import Row, proxy_row
from weft.model.mesh import GatewaySpec
from weft.model.service import Address, Capture, Placement, Workload

if TYPE_CHECKING:
    from pathlib import Path

    from weft.agent.child import Child
    from weft.agent.machine import Machine
    from weft.agent.proxy import Proxy
    from weft.agent.settings import Settings

EGRESS_NAMESPACE: Final = names.SYSTEM_NAMESPACE
GUARD_SECONDS: Final = 0.5
_RECORD: Final = ".edge.json"


class EdgeRecord(msgspec.Struct, frozen=True):
    """What a new agent must know: which proxy it is, and the port that each of the Gateway's ports was bound to."""

    placement: Placement
    namespace: str
    name: str
    ports: dict[int, int]


class Edge:
    """One Envoy in the host's network. ``ports`` maps a Gateway's ports to those that could be bound."""

    def __init__(self, placement: Placement, namespace: str, name: str, machine: Machine) -> None:
        self.placement = placement
        self.namespace = namespace
        self.name = name
        self._machine = machine
        self.node = names.node_id(placement.value, namespace, name)
        paths = machine.settings.paths
        self.proxy: Proxy = machine.proxy(self.node)
        self._record_path = paths.records / f"{self.node.replace('/', '.')}{_RECORD}"
        self._ports: dict[int, int] = {}
        self._wanted = GatewaySpec(namespace, name, ())
        self._taken: frozenset[int] = frozenset()
        self._bound: dict[int, str] = {}
        """The sockets by which our Envoy listens on the chosen ports: finding one costs more than looking at it."""
        self._stopped = anyio.Event()
        self._finished = anyio.Event()

    @property
    def key(self) -> str:
        return self.node

    def adopt(self, ports_before: dict[int, int]) -> None:
        """Take over the Envoy of an earlier agent, with the ports that it has bound."""
        if self.proxy.child.adopt():
            self._ports = ports_before

    def _save(self) -> None:
        record = EdgeRecord(self.placement, self.namespace, self.name, self._ports)
        records.save(self._record_path, record)

    def want(self, spec: GatewaySpec, taken: frozenset[int]) -> None:
        """Find a port to bind for each of the Gateway's; ports that have one keep it. ``taken``: other gateways'."""
        self._wanted, self._taken = spec, taken
        address = self._machine.settings.gateway_address
        chosen = {number: port for number, port in self._ports.items() if number in spec.ports}
        for number in spec.ports:
            if number not in chosen:
                try:
                    chosen[number] = ports.gateway_port(address, number, taken | frozenset(chosen.values()))
                except OSError:
                    continue  # reported as not bound: the Gateway's status says so
        if chosen != self._ports:
            self._ports = chosen
            self._save()
            self._machine.changed()

    @property
    def bound(self) -> frozenset[int]:
        return frozenset(self._ports.values())

    async def run(self) -> None:
        self._save()
        self.proxy.make_directories()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self.proxy.child.run)
                group.start_soon(self._watch)
                group.start_soon(self._guard)
                await self._stopped.wait()
                group.cancel_scope.cancel()
            self._record_path.unlink(missing_ok=True)
            self.proxy.remove_files()
            self._machine.changed()
        finally:
            self._finished.set()

    async def _watch(self) -> None:
        serial = -1
        while True:
            serial, _ = await self.proxy.child.status.newer_than(serial)
            self._machine.changed()

    async def _guard(self) -> None:
        """Choose again for a port that another program bound between our look at it and Envoy's bind: Envoy would be
        refused it for ever.
        """
        suspects: frozenset[int] = frozenset()
        while True:
            await anyio.sleep(GUARD_SECONDS)
            lost = frozenset(number for number, port in self._ports.items() if self._is_lost(port))
            # Seen twice: at the first look Envoy may have been about to listen.
            if confirmed := lost & suspects:
                self.give_up(confirmed)
            suspects = lost - confirmed

    def _is_lost(self, port: int) -> bool:
        """Whether somebody has the port, and our Envoy, which runs, does not listen on it."""
        pid = self.proxy.child.pid
        if not pid or self._bound.get(port, "") in (own := listening.sockets_of((pid,))):
            return False
        if ports.bindable(self._machine.settings.gateway_address, port) == 0:
            return False
        mine = listening.listening_inodes(pid, port) & own
        if mine:
            self._bound[port] = min(mine)
        return not mine

    def give_up(self, numbers: frozenset[int]) -> None:
        """Find other ports to bind for these of the Gateway's."""
        self._ports = {number: port for number, port in self._ports.items() if number not in numbers}
        self.want(self._wanted, self._taken)

    async def stop(self, *, drain: bool) -> None:
        """With ``drain`` callers of the outside first finish what they have under way (bounded)."""
        self.proxy.child.not_wanted()
        if drain:
            await self.proxy.drain_listeners(self._machine.settings.drain_seconds)
        await self.proxy.child.stop(self._machine.settings.grace_seconds)
        self._stopped.set()
        await self._finished.wait()

    def report(self) -> Workload:
        address = self._machine.settings.gateway_address
        egress = self.placement is Placement.EGRESS
        return Workload(
            namespace=self.namespace,
            name=self.name,
            host=self._machine.settings.host,
            placement=self.placement,
            capture=Capture.NONE,
            outbound=Address(path=str(self._machine.settings.paths.egress_socket)) if egress else None,
            relay=relay_socket(self._machine.settings),
            gateway_ports=tuple(
                (number, Address(ip=address, port=port)) for number, port in sorted(self._ports.items())
            ),
        )

    def rows(self) -> tuple[Row, ...]:
        row = proxy_row(self.proxy, self.namespace, self.name)
        shown = tuple(
            f"{number}->{port}" if number != port else str(port) for number, port in sorted(self._ports.items())
        )
        address = self._machine.settings.gateway_address
        urls = tuple(f"http://{address}:{port}" for _, port in sorted(self._ports.items()))
        return (msgspec.structs.replace(row, kind=self.placement.value, ports=shown, urls=urls),)

    def children(self) -> tuple[Child, ...]:
        return (self.proxy.child,)


def relay_socket(settings: Settings) -> Address | None:
    """Where the proxies of this host find the other hosts; None on a host that is alone."""
    return Address(path=str(settings.paths.relay_socket)) if settings.address else None


def load_edges(directory: Path) -> tuple[EdgeRecord, ...]:
    """The edge proxies of an earlier agent."""
    return records.load_all(directory, _RECORD, EdgeRecord)
