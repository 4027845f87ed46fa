"""The agent: the task tree that keeps everything of one host running, and finds it again after its own end.

Ended by SIGTERM or ``POST /v1/stop`` it stops everything in order (unless told to keep it). Killed, it leaves all as
it is: applications, proxies, resolver and control go on, and the next agent adopts exactly those processes.
"""

from __future__ import annotations

import os
import signal
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread

from weft import private
from weft.agent import api, check, door, held, logs, processes, resolver_client, services, unix_http
from weft.agent.control import Control
from weft.agent.machine import Machine, Row
from weft.agent.ports import Ports
from weft.agent.settings import door as door_address
from weft.agent.units import Units
from weft.envoy import binary
from weft.errors import Problem
from weft.latest import Latest
from weft.model.service import Address, Capture, HostReport, Placement
from weft.names import control_spiffe_id
from weft.paths import prepare, public_directory
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from weft.agent.child import Child
    from weft.agent.machine import Unit
    from weft.agent.remote import Remote
    from weft.agent.settings import Settings

HOUSEKEEPING_SECONDS: Final = 1.0
HELD_SECONDS: Final = 2.0
REMOTE_HELD_SECONDS: Final = 10.0
"""Asking another host for each proxy costs a handshake."""
AWAY_SECONDS: Final = 0.5
"""How long control may be away before proxies are offered the fallback."""


class CannotRunError(Exception):
    """The agent cannot run here; the text is the problems."""


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the state directory for this agent. Raises ``CannotRunError`` if another one has it."""
    try:
        descriptor = private.hold(lock)
    except private.HeldError as error:
        problem = Problem(
            code="WFT-1603",
            message=f"another agent (pid {error.holder or 'unknown'}) uses this state directory",
            remedy="Use that one, end it with weft down, or set WEFT_STATE_DIR and WEFT_RUNTIME_DIR to others.",
            origin=Origin(str(lock)),
        )
        raise CannotRunError(str(problem)) from None
    try:
        yield
    finally:
        os.close(descriptor)


def renderer(settings: Settings, remote: Remote | None = None) -> Callable[[str], bytes]:
    """The bootstrap of each proxy of this host. On a joined one, sidecars go to control's door by the host proxy, as those in
    captured namespaces must, and what has the host's network goes itself.
    """
    paths = settings.paths
    control_id = control_spiffe_id(remote.trust_domain) if remote else ""

    def way(node: str) -> Address:
        if remote is None:
            return Address()
        return Address(path=str(paths.door_socket)) if node.startswith(Placement.SIDECAR.value) else remote.door

    def render(node: str) -> bytes:
        # Only an agent that runs needs Envoy's messages (10 MB), not whoever imports this module.
        from weft.envoy.bootstrap import BootstrapInput, bootstrap  # noqa: PLC0415 - as said

        return bootstrap(
            BootstrapInput(
                node=node,
                admin=str(paths.sockets(node) / "admin.sock"),
                control=str(paths.xds_socket),
                fallback=str(paths.fallback_socket),
                secrets=str(paths.sds_socket),
                roots=ssl.get_default_verify_paths().cafile or "",
                door=way(node),
                control_id=control_id,
                pass_on=str(paths.door_socket) if remote and node.startswith(Placement.EGRESS.value) else "",
            )
        )

    return render


class Agent:
    """Implements what the API asks (``api.Supervisor``)."""

    def __init__(self, settings: Settings, envoy: Path, *, transparent: bool) -> None:
        self._settings = settings
        self._ending = anyio.Event()
        self._changed: Latest[None] = Latest(None)
        self._remote = joined(settings)
        self._render = renderer(settings, self._remote)
        machine = Machine(
            settings=settings,
            binary=envoy,
            ports=Ports(str(settings.paths.state)),
            render=self._render,
            changed=self._change,
            transparent=transparent,
            secrets=self._first_secrets,
        )
        self.control = Control(settings.paths, settings.host, self._remote)
        self.units = Units(machine, self.control)
        # As in ``renderer``: only an agent that runs needs Envoy's messages, cryptography and HTTP/2.
        from weft.agent.identity import Identities  # noqa: PLC0415 - as said

        self.identities = Identities(settings, self.control, self.units)
        self._fallback = services.fallback(settings)
        self._services: dict[str, Child] = {}
        if settings.control:
            self._services["control"] = services.control(settings)
        self._door = door.proxy(settings, envoy) if settings.control and settings.address else None
        if transparent:
            self._services["resolver"] = services.resolver(settings)

    def _change(self) -> None:
        self._changed.set(None)
        self.identities.svids.hurry()

    async def _first_secrets(self, node: str) -> None:
        await self.identities.first(node)

    async def run(self) -> None:
        self.units.load()
        for child in self._services.values():
            child.adopt()
        if self._door is not None:
            door.adopt(self._door, self._settings)
            self._services["door"] = self._door.child
        await self.units.look()
        async with anyio.create_task_group() as group:
            for child in self._services.values():
                group.start_soon(child.run)
            for task in (
                self._signals,
                self.identities.run,
                self.control.watch_placements,
                self.control.watch_names,
                self._housekeeping,
                self._fall_back,
                self._keep_held,
            ):
                group.start_soon(task)
            if self._door is not None:
                group.start_soon(door.follow, self._door, self.identities.svids.held)
            if self._remote is not None:
                group.start_soon(self._remote.keep, self.identities.svids.held, self._settings.host)
            group.start_soon(self.control.report, self.report, self._changed)
            group.start_soon(self.units.run)
            group.start_soon(api.serve, self, self._settings.paths.agent_socket, self._settings.paths.names)
            if "resolver" in self._services:
                group.start_soon(self._serve_names, self._services["resolver"])
            # Envoy's messages take a while to load: now, while control starts, and not when a proxy waits for them.
            await anyio.to_thread.run_sync(self._render, "")
            await self._ending.wait()
            if not self._settings.keep:
                await self._stop_everything()
            group.cancel_scope.cancel()
        paths = self._settings.paths
        for left in (paths.agent_socket, paths.sds_socket, paths.workload_socket):
            left.unlink(missing_ok=True)

    async def _signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
            async for _ in received:
                self.end()

    async def _stop_everything(self) -> None:
        """Applications, then proxies, then what they needed: names, and configuration last."""
        await self.units.stop_all()
        fallback = (self._fallback,) if self._fallback.status.value.pid else ()
        async with anyio.create_task_group() as group:
            for child in (*self._services.values(), *fallback):
                group.start_soon(child.stop, self._settings.grace_seconds)
        if self._door is not None:
            self._door.remove_files()
        paths = self._settings.paths
        for left in (paths.control_socket, paths.xds_socket, paths.resolver_socket, paths.fallback_socket):
            left.unlink(missing_ok=True)

    # what goes on in the background

    async def _housekeeping(self) -> None:
        while True:
            for path in self._settings.paths.logs.glob("*.log"):
                logs.rotate(path, self._settings.log_bytes)
            await anyio.sleep(HOUSEKEEPING_SECONDS)

    async def _serve_names(self, resolver: Child) -> None:
        """Give a resolver that was started anew the sockets that the one before it had."""
        serial, known = -1, 0
        while True:
            serial, status = await resolver.status.newer_than(serial)
            if not status.pid or status.pid == known:
                continue
            known = status.pid
            if await resolver_client.wait(self._settings.paths.resolver_socket, 5):
                await self._register()

    async def _register(self) -> None:
        captured = self.units.captured()
        try:
            have = await resolver_client.keep(self._settings.paths.resolver_socket, captured)
            for key, instance in captured.items():
                if key not in have:
                    await instance.give_dns()
        except (resolver_client.ResolverError, processes.StartError):
            return  # it ended again; the next one is given them

    async def _fall_back(self) -> None:
        """Serve proxies from disk while control is away."""
        serial, is_up = self.control.up.serial, self.control.up.value
        child = self._fallback
        serving = child.adopt()
        while True:
            if not is_up and not serving:
                with anyio.move_on_after(AWAY_SECONDS):
                    serial, is_up = await self.control.up.newer_than(serial)
            if self._ending.is_set():
                return  # control goes because everything goes
            if not is_up or serving:
                async with anyio.create_task_group() as group:
                    group.start_soon(child.run)
                    while not is_up:
                        serial, is_up = await self.control.up.newer_than(serial)
                    await child.stop(1.0)
            child, serving = services.fallback(self._settings), False
            self._fallback = child
            serial, is_up = await self.control.up.newer_than(serial)

    async def _keep_held(self) -> None:
        """Keep a copy of what each proxy holds; asked often, because control answers at once and little changes."""
        while True:
            await anyio.sleep(HELD_SECONDS if self._remote is None else REMOTE_HELD_SECONDS)
            for unit in self.units.all():
                if unit.proxy is None or not self.control.up.value:
                    continue
                try:
                    await held.refresh(self.control.address, self._settings.paths.held, unit.proxy.node)
                except (unix_http.HttpError, OSError):
                    break

    # what the API asks

    def report(self) -> HostReport:
        found = [unit.report() for unit in self.units.all()]
        workloads = sorted(
            (one for one in found if one), key=lambda one: (one.placement.value, one.namespace, one.name)
        )
        return HostReport(host=self._settings.host, workloads=tuple(workloads), address=self._settings.address)

    def rows(self) -> tuple[Row, ...]:
        own = [services.row(name, child) for name, child in self._services.items()]
        mine = processes.identify(os.getpid())
        agent = Row(name="agent", namespace="", kind="agent", state="running", pid=mine.pid if mine else 0)
        return (*self.units.rows(), *own, agent)

    def find(self, name: str) -> Unit | None:
        return self.units.find(name)

    def log_of(self, name: str, *, proxy: bool) -> Path | None:
        if name in self._services or name in ("fallback", "agent"):
            return self._settings.paths.logs / f"{name}.log"
        return self.units.log_of(name, proxy=proxy)

    async def restart(self, name: str) -> bool:
        if child := self._services.get(name):
            await child.restart(self._settings.grace_seconds)
            return True
        return await self.units.restart(name)

    async def stop(self, name: str) -> bool:
        return await self.units.stop(name)

    async def start(self, name: str) -> bool:
        return await self.units.start(name)

    def enter(self, name: str) -> dict[str, Any] | None:
        return self.units.enter(name)

    def end(self) -> None:
        self._ending.set()


def joined(settings: Settings) -> Remote | None:
    """Control on another host, where this one joined it. Raises ``CannotRunError`` when it has not."""
    where = door_address(settings.control_address) if settings.control_address else None
    if where is None:
        return None
    from weft.agent import remote  # noqa: PLC0415 - only a joined host needs TLS of its own

    found = remote.read_joined(settings.paths.host_identity)
    if found is None or found.host != settings.host:
        problem = Problem(
            code="WFT-1860",
            message=f"host {settings.host} has not joined the mesh at {settings.control_address}",
            remedy=f"Join it: weft join {settings.control_address} --token TOKEN",
            origin=Origin(str(settings.paths.host_identity)),
        )
        raise CannotRunError(str(problem))
    return remote.Remote(where, settings.paths.host_identity, found.trust_domain)


async def run(settings: Settings) -> None:
    """Run until told to end. Raises ``CannotRunError``."""
    problems = list(prepare(settings.paths))
    if not problems and (found := public_directory(settings.paths.workload_socket.parent)):
        problems.append(found)
    if problems:
        raise CannotRunError("\n".join(str(problem) for problem in problems))
    with alone(settings.paths.lock):
        try:
            envoy = binary.find(dict(settings.environment))
        except binary.EnvoyNotFoundError as error:
            raise CannotRunError(str(check.no_envoy(error))) from error
        refusals = await check.transparent(settings.paths.logs / "check.log")
        if settings.capture is Capture.TRANSPARENT and refusals:
            raise CannotRunError("\n".join(str(problem) for problem in refusals))
        await Agent(settings, envoy, transparent=not refusals).run()
