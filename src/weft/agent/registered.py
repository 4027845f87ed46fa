"""A workload that something else runs on this host (systemd, a container engine): weft knows who it is, and whether it serves.

It has no proxy. What it gets from weft is its identity, by the Workload API, when its selectors hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from weft import names
from weft.agent import health
from weft.agent.machine import Row
from weft.model.service import Address, Capture, Placement, State, Workload, WorkloadPort

if TYPE_CHECKING:
    from weft.agent.child import Child
    from weft.agent.machine import Machine
    from weft.model.mesh import ProcessSpec

LOOPBACK: Final = "127.0.0.1"


class Registered:
    """Its ports are where it says that it listens, on the host's loopback."""

    proxy: Final = None

    def __init__(self, spec: ProcessSpec, machine: Machine) -> None:
        self.spec = spec
        self._machine = machine
        self.node = names.node_id(Placement.SIDECAR.value, spec.namespace, spec.name)
        self._gates = {port.number: health.Gate() for port in spec.ports}
        self._stopped = anyio.Event()

    @property
    def key(self) -> str:
        return f"{self.spec.namespace}/{self.spec.name}"

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._check)
            await self._stopped.wait()
            group.cancel_scope.cancel()
        self._machine.changed()

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
                listen=Address(ip=LOOPBACK, port=port.number),
                application=Address(ip=LOOPBACK, port=port.number),
                state=State.DRAINING if self._stopped.is_set() else self._gates[port.number].state,
            )
            for port in self.spec.ports
        )

    async def stop(self, *, drain: bool) -> None:  # noqa: ARG002 - of Unit: nothing of it is ours to drain
        """It is no more of the mesh; whatever runs it goes on."""
        self._stopped.set()

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
        )

    def rows(self) -> tuple[Row, ...]:
        spec = self.spec
        states = [port.state for port in self.ports()] or [State.SERVING]
        worst = next((state for state in (State.FAILING, State.STARTING) if state in states), State.SERVING)
        return (
            Row(
                name=spec.name,
                namespace=spec.namespace,
                service=spec.service,
                version=spec.version,
                kind="app",
                state=worst.value,
                capture=Capture.NONE.value,
                ports=tuple(f"{port.number}/{port.protocol.value}" for port in spec.ports),
                reason="run by something else",
            ),
        )

    def children(self) -> tuple[Child, ...]:
        return ()
