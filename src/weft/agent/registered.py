"""A workload that something else runs on this host (systemd, a container engine): weft knows who it is, and whether it serves.

It gets its identity, by the Workload API, when its selectors hold. Where it has ports, a proxy takes the calls to them; what it
calls itself is its own affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from weft import names
from weft.agent import health, records
from weft.agent.edge import relay_socket
from weft.agent.machine import Row, proxy_row
from weft.model.mesh import ProcessSpec
from weft.model.service import Address, Capture, Placement, State, Workload, WorkloadPort

if TYPE_CHECKING:
    from pathlib import Path

    from weft.agent.child import Child
    from weft.agent.machine import Machine
    from weft.agent.proxy import Proxy

LOOPBACK: Final = "127.0.0.1"
_RECORD: Final = ".registered.json"


class Registered:
    """Its ports are where it says that it listens, on the host's loopback."""

    def __init__(self, spec: ProcessSpec, machine: Machine) -> None:
        self.spec = spec
        self._machine = machine
        self.node = names.node_id(Placement.SIDECAR.value, spec.namespace, spec.name)
        settings = machine.settings
        self._record_path = settings.paths.records / f"{self.node.replace('/', '.')}{_RECORD}"
        self.proxy: Proxy | None = None
        if spec.proxied:
            self.proxy = machine.proxy(self.node)
            self.proxy.on_renewed = machine.changed
        self._gates = {port.number: health.Gate() for port in spec.ports}
        self._draining = False
        self._stopped = anyio.Event()
        self._finished = anyio.Event()

    @property
    def key(self) -> str:
        return f"{self.spec.namespace}/{self.spec.name}"

    def adopt(self) -> None:
        """Take over the Envoy of an earlier agent."""
        for child in self.children():
            child.adopt()

    def update(self, spec: ProcessSpec) -> None:
        """Another specification with the same ports."""
        self.spec = spec
        self._save()
        self._machine.changed()

    def _save(self) -> None:
        records.save(self._record_path, self.spec)

    async def run(self) -> None:
        self._save()
        if self.proxy:
            self.proxy.make_directories()
        try:
            async with anyio.create_task_group() as group:
                for child in self.children():
                    group.start_soon(child.run)
                group.start_soon(self._check)
                await self._stopped.wait()
                group.cancel_scope.cancel()
            self._record_path.unlink(missing_ok=True)
            if self.proxy:
                self.proxy.remove_files()
            self._machine.changed()
        finally:
            self._finished.set()

    async def _check(self) -> None:
        while True:
            await self.look()
            await anyio.sleep(self.spec.health.interval_seconds)

    async def look(self) -> None:
        """One check now."""
        for port in self.ports():
            gate = self._gates[port.number]
            before = gate.state
            if gate.saw(await self._serves(port)) is not before:
                self._machine.changed()

    async def _serves(self, port: WorkloadPort) -> bool:
        """It takes connections, and the workload as a whole is healthy."""
        check, limit = self.spec.health, self.spec.health.timeout_seconds
        try:
            with anyio.fail_after(limit):
                await (await anyio.connect_tcp(LOOPBACK, port.number)).aclose()
        except (OSError, TimeoutError):
            return False
        asked = health.asked_port(check, self.ports())
        if check.kind == "tcp" or asked is None:
            return True
        if check.kind == "http":
            return await health.http_ok(asked.application, check.path, limit)
        return await health.grpc_ok(asked.application, check.path.strip("/"), limit)

    def ports(self) -> tuple[WorkloadPort, ...]:
        return tuple(
            WorkloadPort(
                number=port.number,
                name=port.name,
                protocol=port.protocol,
                listen=self._listen(port.number),
                application=Address(ip=LOOPBACK, port=port.number),
                state=State.DRAINING if self._draining else self._gates[port.number].state,
            )
            for port in self.spec.ports
        )

    def _listen(self, number: int) -> Address:
        return Address(path=str(self.proxy.sockets / f"in-{number}.sock")) if self.proxy else Address()

    async def stop(self, *, drain: bool) -> None:
        """It is no more of the mesh; whatever runs it goes on. With ``drain`` it first answers what it was asked (bounded)."""
        self._draining = True
        self._machine.changed()
        if self.proxy:
            self.proxy.child.not_wanted()
            if drain:
                await self.proxy.drained(self._machine.settings.drain_seconds)
            await self.proxy.child.stop(self._machine.settings.grace_seconds)
        self._stopped.set()
        await self._finished.wait()

    def report(self) -> Workload:
        spec = self.spec
        return Workload(
            namespace=spec.namespace,
            name=spec.name,
            host=self._machine.settings.host,
            capture=Capture.NONE,
            service_account=spec.service_account,
            labels=spec.labels,
            ports=self.ports(),
            relay=relay_socket(self._machine.settings) if self.proxy else None,
            renewed=self.proxy.renewed if self.proxy else 0,
        )

    def rows(self) -> tuple[Row, ...]:
        spec = self.spec
        states = [port.state for port in self.ports()] or [State.SERVING]
        worst = next((state for state in (State.FAILING, State.STARTING) if state in states), State.SERVING)
        row = Row(
            name=spec.name,
            namespace=spec.namespace,
            service=spec.service,
            version=spec.version,
            kind="app",
            state=worst.value,
            capture=Capture.NONE.value,
            ports=tuple(f"{port.number}/{port.protocol.value}" for port in spec.ports),
            reason="run by something else",
        )
        if not self.proxy:
            return (row,)
        return row, proxy_row(self.proxy, spec.namespace, spec.name, service=spec.service, version=spec.version)

    def children(self) -> tuple[Child, ...]:
        return (self.proxy.child,) if self.proxy else ()


def load_registered(directory: Path) -> tuple[ProcessSpec, ...]:
    """What something else runs, as an earlier agent knew it."""
    return records.load_all(directory, _RECORD, ProcessSpec)
