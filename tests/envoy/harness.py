"""A rig for tests against the real Envoy: control plane, proxies and an application that echoes, on unix sockets.

``Rig`` serves views through the real builders and the real delta stream; a test says what each proxy may see, sends
requests, and looks at what arrived and what was answered. Nothing listens on a port, nothing waits for a fixed time.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import certifi

from tests.support.secrets import Secrets
from weft.envoy.bootstrap import BootstrapInput, bootstrap
from weft.envoy.build import build
from weft.memo import Memo
from weft.model.service import Address, Capture, Endpoint, Placement, Protocol
from weft.model.view import Assignment, Demand, Upstream, View
from weft.names import OutboundCluster, parse_outbound_cluster
from weft.xds.fleet import Fleet
from weft.xds.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    from weft.errors import Problem
    from weft.model.route import VirtualHost

PATIENCE = 20


@dataclass(frozen=True)
class Answer:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def seen(self) -> dict[str, Any]:
        """The request as the application saw it."""
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


async def exchange(
    socket: Path | tuple[str, int],
    host: str,
    path: str = "/",
    *,
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Answer:
    """One HTTP/1.1 request on a connection of its own, exactly as written here."""
    if isinstance(socket, Path):
        reader, writer = await asyncio.open_unix_connection(str(socket))
    else:
        reader, writer = await asyncio.open_connection(*socket)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    writer.write("\r\n".join(lines).encode() + body)
    try:
        return await asyncio.wait_for(_answer(reader), PATIENCE)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *rest = head.strip().split("\r\n")
    headers = dict[str, str]()
    for line in rest:
        name, _, value = line.partition(":")
        known = headers.get(name.lower())
        headers[name.lower()] = f"{known}, {value.strip()}" if known else value.strip()
    # By length where there is one: Envoy may keep a connection for a second after it answered for itself.
    if "content-length" in headers:
        return Answer(int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"])))
    raw = await reader.read()
    return Answer(int(first.split()[1]), headers, _unchunked(raw) if "transfer-encoding" in headers else raw)


def _unchunked(raw: bytes) -> bytes:
    out = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        count = int(size, 16)
        out, raw = out + raw[:count], raw[count + 2 :]
    return out


@dataclass
class Echo:
    """An application: answers with what it saw. ``x-answer: 503`` gives the status, ``x-wait: 0.5`` seconds to wait.

    The preface of HTTP/2 is noted as ``PRI *``, and then it hangs up.
    """

    name: str
    socket: Path
    seen: Counter[str] = field(default_factory=Counter)
    fail: int = 0
    """How many of the next requests are answered 503."""
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
    """What to do with a connection after the head of a request, instead of echoing."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._one(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = head.strip().split("\r\n")
        if self.talk:
            await self.talk(reader, writer)
            raise ConnectionError
        method, path, version = first.split(" ")
        if version == "HTTP/2.0":
            self.seen[f"{method} {path}"] += 1
            raise ConnectionError
        pairs = [line.split(": ", 1) if ": " in line else [line.rstrip(":"), ""] for line in rest]
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.seen[f"{method} {path}"] += 1
        await asyncio.sleep(float(headers.get("x-wait", "0")))
        status = int(headers.get("x-answer", "200"))
        if self.fail:
            self.fail -= 1
            status = 503
        said = {"app": self.name, "method": method, "path": path, "headers": headers, "length": len(body)}
        out = json.dumps(said).encode()
        more = "x-app: yes\r\nserver: echo\r\n"
        writer.write(f"HTTP/1.1 {status} Said\r\ncontent-length: {len(out)}\r\n{more}\r\n".encode() + out)
        await writer.drain()


async def until(true: Callable[[], Awaitable[bool] | bool]) -> None:
    """Wait until something holds that nobody announces; fails after ``PATIENCE`` seconds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            held = true()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.005)


class Rig:
    """Everything around the proxies. ``views`` says, by node id, what a proxy sees of the mesh for a demand."""

    def __init__(self, directory: Path, envoy: Path) -> None:
        self.directory = directory
        self.fleet = Fleet(time.monotonic)
        self.views: dict[str, Callable[[Demand], View]] = {}
        self.problems: dict[str, tuple[Problem, ...]] = {}
        self.demands: dict[str, Demand] = {}
        self._envoy = envoy
        self._memo = Memo()
        self.revision = 0
        self.secrets = Secrets()
        """By SDS: who each proxy is, as ``secrets.give(node, identity)`` said."""
        self._servers: list[asyncio.Server] = []
        self._processes: list[tuple[str, asyncio.subprocess.Process]] = []

    async def echo(self, name: str) -> Echo:
        """Start one application."""
        app = Echo(name, self.directory / f"{name}.app")
        self._servers.append(await asyncio.start_unix_server(app, str(app.socket)))
        return app

    async def serve_raw(self, name: str, talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> Path:
        """Start one application that speaks something of its own."""
        socket = self.directory / f"{name}.app"
        self._servers.append(await asyncio.start_unix_server(talk, str(socket)))
        return socket

    def refresh(self) -> None:
        """Offer every proxy its newest view, as after a change of the mesh."""
        self.revision += 1
        for node, demand in self.demands.items():
            self._offer(node, demand)

    def _offer(self, node: str, demand: Demand) -> None:
        self.demands[node] = demand
        built = build(self.views[node](demand), self._memo)
        self.problems[node] = built.problems
        self.fleet.offer(node, built.resources, demand, self.revision)

    async def settle(self) -> None:
        """Answer demands until cancelled."""
        serial = 0
        while True:
            serial, _ = await self.fleet.demands.newer_than(serial)
            for node, demand in self.fleet.take_changes().items():
                if demand is not None:
                    self._offer(node, demand)

    async def proxy(
        self, node: str, view: Callable[[Demand], View], ready: Path | tuple[str, int], prefix: tuple[str, ...] = ()
    ) -> int:
        """Start one Envoy and wait until it listens at ``ready``; gives its process id."""
        self.views[node] = view
        place = self.directory / node.replace("/", "-")
        place.mkdir()
        config = BootstrapInput(
            node=node,
            admin=str(place / "admin"),
            control=str(self.directory / "xds"),
            fallback=str(self.directory / "fallback"),
            secrets=str(self.directory / "sds"),
            roots=certifi.where(),
        )
        (place / "bootstrap.json").write_bytes(bootstrap(config))
        options = ("--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning")
        with (place / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *prefix, str(self._envoy), "-c", str(place / "bootstrap.json"), *options, stdout=log, stderr=log
            )
        self._processes.append((node, process))
        if isinstance(ready, Path):
            await self._listening(ready, node)
        return process.pid

    async def _listening(self, socket: Path, node: str) -> None:
        try:
            with anyio.fail_after(PATIENCE):
                while True:
                    try:
                        _, writer = await asyncio.open_unix_connection(str(socket))
                    except OSError:
                        await anyio.sleep(0.005)
                    else:
                        writer.close()
                        return
        except TimeoutError:
            raise AssertionError(f"{node} does not listen: {self.log(node)}; {self.fleet.status()}") from None

    def log(self, node: str) -> str:
        """Everything that a proxy wrote: its own log and its access log."""
        return (self.directory / node.replace("/", "-") / "log").read_text()

    def requests(self, node: str) -> list[dict[str, Any]]:
        """The access log of a proxy, as far as it is written: Envoy may have flushed half of the last line."""
        return [json.loads(line) for line in self.log(node).split("\n")[:-1] if line.startswith("{")]

    async def admin(self, node: str, path: str) -> str:
        answer = await exchange(self.directory / node.replace("/", "-") / "admin", "admin", path)
        return answer.body.decode()

    async def stop(self) -> None:
        # All of them before any wait: whatever interrupts it, none is left.
        for _, process in self._processes:
            if process.returncode is None:
                process.kill()
        for _, process in self._processes:
            await asyncio.wait_for(process.wait(), PATIENCE)
        for server in self._servers:
            server.close()

    def refused(self) -> list[str]:
        """What a proxy refused, which no builder may ever cause."""
        lines = [line for node, _ in self._processes for line in self.log(node).splitlines()]
        return [line for line in lines if "rejected" in line or "Error adding" in line]


@asynccontextmanager
async def rig(envoy: Path) -> AsyncIterator[Rig]:
    """A rig in a directory short enough for unix sockets; fails if a proxy refused anything."""
    directory = Path(tempfile.mkdtemp(prefix="weft-"))
    made = Rig(directory, envoy)
    try:
        async with anyio.create_task_group() as tasks:
            await tasks.start(serve, made.fleet, directory / "xds")
            secrets = await made.secrets.serve(directory / "sds")
            tasks.start_soon(made.settle)
            try:
                yield made
            finally:
                await made.stop()
                await secrets.stop(None)
                tasks.cancel_scope.cancel()
        assert made.refused() == []
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def service(name: str, port: int = 80, subset: str = "") -> OutboundCluster:
    """The cluster of a service in namespace ``default``."""
    return OutboundCluster(port=port, host=f"{name}.default.svc.cluster.local", subset=subset)


def sidecar(
    rig: Rig,
    hosts: Callable[[str], VirtualHost],
    apps: Mapping[str, tuple[Path, ...]],
    protocol: Protocol = Protocol.HTTP,
    **changes: Any,  # noqa: ANN401 - fields of View
) -> Callable[[Demand], View]:
    """The view of a caller: each asked name by ``hosts``; the cluster of service ``x`` leads to the sockets ``apps[x]``."""

    def view(demand: Demand) -> View:
        named = tuple(hosts(name) for name in sorted(demand.hosts))
        wanted = {str(item.cluster) for host in named for rule in host.rules for item in rule.backends if item.cluster}
        wanted |= {str(item.cluster) for host in named for rule in host.rules for item in rule.mirrors}
        wanted |= {name for name in demand.clusters if parse_outbound_cluster(name)}
        return View(
            **{
                "node": "sidecar/default/caller",
                "placement": Placement.SIDECAR,
                "namespace": "default",
                "name": "caller",
                "capture": Capture.PROXY,
                "outbound": Address(path=str(rig.directory / "out")),
                "hosts": named,
                "upstreams": tuple(Upstream(name=name, protocol=protocol, source="") for name in sorted(wanted)),
                "assignments": tuple(assignments(sorted(wanted), apps)),
                **changes,
            }
        )

    return view


def assignments(names: Iterable[str], apps: Mapping[str, tuple[Path, ...]]) -> Iterable[Assignment]:
    """The endpoints of clusters by their services' names."""
    for name in names:
        parsed = parse_outbound_cluster(name)
        assert parsed is not None
        key = parsed.host.partition(".")[0]
        sockets = apps.get(f"{key}-{parsed.subset}" if parsed.subset else key, ())
        yield Assignment(name=name, endpoints=tuple(Endpoint(address=Address(path=str(item))) for item in sockets))
