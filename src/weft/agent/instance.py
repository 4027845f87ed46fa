"""One application with its proxy: started together, checked, drained, and stopped in order."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

import anyio
import msgspec

from weft import names
from weft.agent import accounts, environment, health, processes, records, resolver_client
from weft.agent.child import Child, ChildState
from weft.agent.edge import relay_socket
from weft.agent.listening import Watch
from weft.agent.machine import Row, proxy_row, reason
from weft.model.mesh import ProcessSpec
from weft.model.service import Address, BoundPort, Capture, Placement, Protocol, State, Workload, WorkloadPort

if TYPE_CHECKING:
    from pathlib import Path

    from weft.agent.machine import Machine
    from weft.agent.processes import Launch, Namespace
    from weft.agent.proxy import Proxy

LOOPBACK: Final = "127.0.0.1"
OUTBOUND_PORT: Final = 15001
PROXY_READY_SECONDS: Final = 10.0
"""How long an application waits for its proxy; then it starts all the same, and its calls fail until the proxy is
there.
"""

_RECORD: Final = ".plan.json"

EAGER_CHECKS: Final = 200
"""So many checks at the first, short interval (10 s); an application that takes longer is looked at less often."""


class Plan(msgspec.Struct, frozen=True):
    """What was chosen for one instance. It is on disk, so that a new agent goes on with the same addresses.

    ``generation`` counts the instances of a workload, each of which took over from the one before.
    """

    spec: ProcessSpec
    capture: Capture
    applications: tuple[tuple[int, Address], ...]
    outbound: Address | None = None
    bound: tuple[BoundPort, ...] = ()
    generation: int = 0

    @property
    def name(self) -> str:
        return names.instance(self.spec.name, self.generation)

    @property
    def proxied(self) -> bool:
        """It calls by a proxy, or is called by one."""
        return self.capture is not Capture.NONE or bool(self.spec.ports)


def chosen_ports(plan: Plan) -> tuple[int, ...]:
    """Every port of the host's loopback that a plan uses."""
    addresses = [one.listen for one in plan.bound]
    if plan.capture is not Capture.TRANSPARENT:
        addresses += [address for _, address in plan.applications]
        addresses += [plan.outbound] if plan.outbound else []
    return tuple(address.port for address in addresses)


def make_plan(spec: ProcessSpec, capture: Capture, machine: Machine, generation: int = 0) -> Plan:
    """Choose the addresses. Raises ``OSError`` when no port is free."""

    def free() -> Address:
        return Address(ip=LOOPBACK, port=machine.ports.take())

    if capture is Capture.TRANSPARENT:
        own = tuple((port.number, Address(ip=LOOPBACK, port=port.number)) for port in spec.ports)
        return Plan(spec, capture, own, Address(ip=LOOPBACK, port=OUTBOUND_PORT), (), generation)
    applications = tuple((port.number, free()) for port in spec.ports)
    if capture is Capture.NONE:
        return Plan(spec, capture, applications, None, (), generation)
    calls = [call for call in spec.bound if capture is Capture.PORTS or not call[2].is_http]
    bound = tuple(BoundPort(service, port, free()) for service, port, protocol in calls if protocol is not Protocol.UDP)
    return Plan(spec, capture, applications, free() if capture is Capture.PROXY else None, bound, generation)


def needs_restart(old: ProcessSpec, new: ProcessSpec) -> bool:
    """Whether a changed specification concerns the process; else only what is reported of it changes. Another service account
    does: the process, its proxy and every connection that they have open are somebody else's.
    """
    same = msgspec.structs.replace(
        old,
        labels=new.labels,
        health=new.health,
        source=new.source,
        needs=new.needs,
        host=new.host,
        attest=new.attest,
    )
    return same != new


class Instance:
    """A workload. ``plan`` says where everything is; ``states`` says which ports serve."""

    def __init__(self, plan: Plan, machine: Machine) -> None:
        self.plan = plan
        self._machine = machine
        self._paths = machine.settings.paths
        spec = plan.spec
        self.node = names.node_id(Placement.SIDECAR.value, spec.namespace, plan.name)
        name = self.node.replace("/", ".")
        # One log for all instances of a workload: it tells of the old one's end and of the new one's beginning.
        self.log = self._paths.logs / f"{names.workload_of(name)}.log"
        self._plan_path = self._paths.records / f"{name}{_RECORD}"
        self.application = Child(self._paths.records / f"{name}.app.json", self.log, self._prepare)
        self.proxy: Proxy | None = None
        if plan.proxied:
            self.proxy = machine.proxy(self.node, self.enter)
            self.proxy.on_renewed = machine.changed
        self._gates = {port.number: health.Gate() for port in spec.ports}
        own_network = plan.capture is Capture.TRANSPARENT
        self._watches = {port.number: Watch(own_network=own_network) for port in spec.ports}
        self._draining = False
        self._namespace: Namespace | None = None
        self._entering = anyio.Lock()
        self._stopped = anyio.Event()
        self._finished = anyio.Event()

    @property
    def key(self) -> str:
        return f"{self.plan.spec.namespace}/{self.plan.spec.name}"

    @property
    def namespace(self) -> Namespace | None:
        return self._namespace

    def adopt(self) -> None:
        """Take over what still runs of an earlier agent's instance, with its namespace."""
        for child in self.children():
            if child.adopt() and self._namespace is None and self.plan.capture is Capture.TRANSPARENT:
                self._namespace = processes.namespace_of(child.pid)

    def update(self, spec: ProcessSpec) -> None:
        """Another specification of the same process (see ``needs_restart``)."""
        self.plan = msgspec.structs.replace(self.plan, spec=spec)
        self._save()
        self._machine.changed()

    def _save(self) -> None:
        records.save(self._plan_path, self.plan)

    async def run(self) -> None:
        self._save()
        if self.proxy:
            self.proxy.make_directories()
        for port in chosen_ports(self.plan):
            self._machine.ports.keep(port)
        try:
            async with anyio.create_task_group() as group:
                for child in self.children():
                    group.start_soon(child.run)
                group.start_soon(self._check)
                group.start_soon(self._watch_end)
                await self._stopped.wait()
                group.cancel_scope.cancel()
            self._clear()
        finally:
            if self._namespace:
                self._namespace.close()
                self._namespace = None  # whoever else stops it at the same moment must not look into it any more
            self._finished.set()

    async def enter(self) -> Namespace | None:
        """The application's namespace, made when it is first needed; None where the host's is used."""
        if self.plan.capture is not Capture.TRANSPARENT:
            return None
        async with self._entering:
            if self._namespace is None:
                made = await processes.create_namespace(self.log)
                self._namespace = made
                await self.give_dns()
            return self._namespace

    async def give_dns(self) -> None:
        """Let the resolver answer in this namespace; again after it was restarted. Raises ``StartError``."""
        if self._namespace is not None:
            path = self._paths.resolver_socket
            await resolver_client.wait(path, 5)
            await resolver_client.add(path, self.node, self.plan.spec.namespace, self._namespace, self.log)

    async def _prepare(self) -> Launch:
        if self.proxy and not await self.proxy.wait_ready(PROXY_READY_SECONDS):
            with self.log.open("a", encoding="utf-8") as log:
                log.write(f"weft: the proxy is not ready after {PROXY_READY_SECONDS} s; starting all the same\n")
        account = accounts.to_become(self.plan.spec.user)
        return processes.Launch(
            argv=self.plan.spec.command,
            environment=self.environment(),
            log=self.log,
            directory=self.plan.spec.directory,
            namespace=await self.enter(),
            user=(account.uid, account.gid) if account else None,
        )

    def environment(self) -> dict[str, str]:
        return environment.environment(
            dict(self._machine.settings.environment),
            self.plan.spec,
            self.plan.capture,
            dict(self.plan.applications),
            self.plan.outbound,
            self.plan.bound,
            identity=str(self._paths.workload_socket),
            account=accounts.to_become(self.plan.spec.user),
        )

    # health

    async def _check(self) -> None:
        eager = 0
        while True:
            starting = any(gate.state is State.STARTING for gate in self._gates.values())
            eager = eager + 1 if starting else 0
            first = starting and eager <= EAGER_CHECKS
            await anyio.sleep(health.FIRST_INTERVAL_SECONDS if first else self.plan.spec.health.interval_seconds)
            await self._check_once()

    async def _check_once(self) -> None:
        own_network = self.plan.capture is Capture.TRANSPARENT
        checker = health.Checker(self.plan.spec.health, self._watches, own_network=own_network)
        for port in self.workload_ports():
            ok = await checker.check(self.application.pid, port, self.workload_ports())
            self._saw(port.number, ok=ok)

    async def look(self) -> None:
        """One check now: what an earlier agent found serving shall not be reported as starting."""
        if self.application.pid:
            await self._check_once()

    def _saw(self, number: int, *, ok: bool) -> None:
        gate = self._gates[number]
        before = gate.state
        if gate.saw(ok) is not before:
            self._machine.changed()

    async def _watch_end(self) -> None:
        """Close the gates at once when the application's process is gone, without waiting for a check."""
        serial = -1
        while True:
            serial, status = await self.application.status.newer_than(serial)
            if status.state is not ChildState.RUNNING:
                for gate in self._gates.values():
                    gate.ended()
            self._machine.changed()

    # what others are told

    def workload_ports(self) -> tuple[WorkloadPort, ...]:
        addresses = dict(self.plan.applications)
        return tuple(
            WorkloadPort(
                number=port.number,
                name=port.name,
                protocol=port.protocol,
                listen=self._listen(port.number) or addresses[port.number],
                application=addresses[port.number],
                state=State.DRAINING if self._draining else self._gates[port.number].state,
            )
            for port in self.plan.spec.ports
        )

    def _listen(self, number: int) -> Address | None:
        return Address(path=str(self.proxy.sockets / f"in-{number}.sock")) if self.proxy else None

    def report(self) -> Workload:
        spec, transparent = self.plan.spec, self.plan.capture is Capture.TRANSPARENT
        return Workload(
            namespace=spec.namespace,
            name=self.plan.name,
            host=self._machine.settings.host,
            capture=self.plan.capture,
            service_account=spec.service_account,
            labels=spec.labels,
            ports=self.workload_ports(),
            outbound=self.plan.outbound,
            egress=Address(path=str(self._paths.egress_socket)) if transparent else None,
            relay=relay_socket(self._machine.settings) if self.proxy else None,
            bound=self.plan.bound,
            renewed=self.proxy.renewed if self.proxy else 0,
        )

    def rows(self, name: str = "", note: str = "") -> tuple[Row, ...]:
        """As ``name``, when another instance has the workload's own; ``note`` says what there is to know about it."""
        spec, status = self.plan.spec, self.application.status.value
        state = status.state.value
        if status.state is ChildState.RUNNING:
            state = self.state().value
        name = name or spec.name
        elsewhere = next((watch.elsewhere for watch in self._watches.values() if watch.elsewhere), "")
        row = Row(
            name=name,
            namespace=spec.namespace,
            service=spec.service,
            version=spec.version,
            kind="app",
            state=state,
            pid=status.pid,
            since=status.since,
            restarts=status.restarts,
            capture=self.plan.capture.value,
            ports=tuple(f"{port.number}/{port.protocol.value}" for port in spec.ports),
            reason=reason(status) or elsewhere or note,
        )
        if not self.proxy:
            return (row,)
        return row, proxy_row(self.proxy, spec.namespace, name, service=spec.service, version=spec.version)

    @property
    def draining(self) -> bool:
        return self._draining

    @property
    def serves(self) -> bool:
        return self.application.pid != 0 and self.state() is State.SERVING

    def state(self) -> State:
        """Of the whole workload: the state of its worst port."""
        order = (State.DRAINING, State.FAILING, State.STARTING, State.SERVING)
        states = [port.state for port in self.workload_ports()] or [State.SERVING]
        return min(states, key=order.index)

    def children(self) -> tuple[Child, ...]:
        return (self.proxy.child, self.application) if self.proxy else (self.application,)

    # the end

    async def drain(self) -> None:
        """Tell callers to go elsewhere, and wait until what they asked is answered (bounded)."""
        self._draining = True
        self._machine.changed()
        if not any(gate.state is State.SERVING for gate in self._gates.values()):
            return
        if self.proxy:
            await self.proxy.drained(self._machine.settings.drain_seconds)

    async def restart(self) -> None:
        """End the application once callers have gone elsewhere; it is started again at once."""
        await self.drain()
        await self.application.restart(self._machine.settings.grace_seconds)
        self._draining = False
        self._machine.changed()

    async def stop(self, *, drain: bool) -> None:
        """In order: callers go elsewhere, the application ends, then its proxy, by which it may still call out."""
        self.application.not_wanted()
        if drain:
            await self.drain()
        self._draining = True
        grace = self._machine.settings.grace_seconds
        await self.application.stop(grace)
        if self.proxy:
            await self.proxy.child.stop(grace)
        self._end_stragglers()
        self._stopped.set()
        await self._finished.wait()

    def _end_stragglers(self) -> None:
        """In a namespace of its own nothing can hide: what is left there after the end is ended too."""
        if self._namespace:
            for pid in processes.inside(self._namespace):
                processes.kill(pid, signal.SIGKILL)

    def _clear(self) -> None:
        self._plan_path.unlink(missing_ok=True)
        if self.proxy:
            self.proxy.remove_files()
        for port in chosen_ports(self.plan):
            self._machine.ports.give_back(port)
        self._machine.changed()


def load_plans(directory: Path) -> tuple[Plan, ...]:
    """The plans of an earlier agent."""
    return records.load_all(directory, _RECORD, Plan)
