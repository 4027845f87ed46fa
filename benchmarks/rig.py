"""What the benchmarks start: a control plane in a process of its own, meshes of any size, Envoys; and how they look at them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpx2
import msgspec

from weft.envoy import binary
from weft.envoy.bootstrap import BootstrapInput, bootstrap
from weft.model.service import Address, Capture, HostReport, Protocol, State, Workload, WorkloadPort
from weft.paths import Paths, prepare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

PATIENCE: Final = 120.0
PER_HOST: Final = 100
"""Workloads that one host reports."""
PER_APPLY: Final = 1000
"""Services in one apply."""


def private_mb(pid: int) -> float:
    """Memory that this process shares with nobody, in MB (10^6 bytes): what it adds to the machine."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used so far, in steps of 1 / SC_CLK_TCK (10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def service(name: str) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---"""


def workload(
    name: str,
    listen: Path,
    outbound: Address | None = None,
    application: Address = Address(ip="127.0.0.1", port=8080),  # noqa: B008 - frozen
    **labels: str,
) -> Workload:
    """A workload that serves on one port, with its proxy's inbound socket ``listen``."""
    port = WorkloadPort(
        number=8080,
        name="http",
        protocol=Protocol.HTTP,
        listen=Address(path=str(listen)),
        application=application,
        state=State.SERVING,
    )
    return Workload(
        namespace="default",
        name=name,
        host="bench",
        capture=Capture.PROXY,
        labels=tuple(sorted(labels.items())),
        ports=(port,),
        outbound=outbound,
    )


class ControlProcess:
    """A running ``python -m weft.control`` and a client of its API."""

    def __init__(self, paths: Paths, pid: int, client: httpx2.AsyncClient) -> None:
        self.paths = paths
        self.pid = pid
        self.client = client

    async def apply(self, text: str, owner: str = "bench") -> None:
        answer = await self.client.post(f"/weft/v1/apply?owner={owner}", content=text.encode())
        answer.raise_for_status()
        if problems := answer.json()["problems"]:
            raise ValueError(problems)

    async def report(self, made: HostReport) -> None:
        answer = await self.client.put(f"/weft/v1/hosts/{made.host}", content=msgspec.json.encode(made))
        answer.raise_for_status()

    async def fill(self, services: int, endpoints: int, listen: Path) -> None:
        """``services`` services ``svc-<n>`` of ``endpoints`` endpoints each, with sockets named after ``listen``."""
        for first in range(0, services, PER_APPLY):
            names = [f"svc-{number}" for number in range(first, min(first + PER_APPLY, services))]
            await self.apply("".join(map(service, names)), owner=f"bench-{first}")
        made = [
            workload(f"svc-{number}-{each}", listen.with_name(f"{listen.name}{each or ''}"), app=f"svc-{number}")
            for number in range(services)
            for each in range(endpoints)
        ]
        for first in range(0, len(made), PER_HOST):
            await self.report(
                HostReport(host=f"host-{first // PER_HOST}", workloads=tuple(made[first : first + PER_HOST]))
            )

    async def settled_services(self) -> int:
        """How many services the mesh has that was compiled last."""
        lines = (await self.client.get("/metrics")).text.splitlines()
        return next((int(float(line.split()[1])) for line in lines if line.startswith("weft_services ")), 0)

    async def until_services(self, count: int) -> None:
        with anyio.fail_after(PATIENCE):
            while await self.settled_services() != count:  # noqa: ASYNC110 - another process knows it
                await anyio.sleep(0.05)


@asynccontextmanager
async def control_process(directory: Path) -> AsyncIterator[ControlProcess]:
    """A control plane with its own state and sockets below ``directory``, that serves."""
    paths = Paths(directory / "s", directory / "r")
    if problems := prepare(paths):
        raise RuntimeError(str(problems[0]))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WEFT_", "XDG_"))}
    environ = kept | {"WEFT_STATE_DIR": str(paths.state), "WEFT_RUNTIME_DIR": str(paths.runtime)}
    async with process([sys.executable, "-m", "weft.control"], env=environ) as pid:
        transport = httpx2.AsyncHTTPTransport(uds=str(paths.control_socket))
        async with httpx2.AsyncClient(transport=transport, base_url="http://weft", timeout=PATIENCE) as client:
            with anyio.fail_after(PATIENCE):
                while not await _ready(client):  # noqa: ASYNC110 - another process knows it
                    await anyio.sleep(0.02)
            yield ControlProcess(paths, pid, client)


async def _ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx2.TransportError:
        return False


@asynccontextmanager
async def process(command: Iterable[str], *, env: Mapping[str, str] | None = None) -> AsyncIterator[int]:
    """A process for so long; gives its pid. In a session of its own, as the agent starts all that it runs: the kernel shares a
    busy core out by session, and those of one session would wait for one another.
    """
    made = await asyncio.create_subprocess_exec(*command, env=env, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield made.pid
    finally:
        if made.returncode is None:
            made.send_signal(signal.SIGTERM)
        await made.wait()


@asynccontextmanager
async def envoy(configuration: bytes | str, directory: Path, name: str, concurrency: int = 1) -> AsyncIterator[int]:
    """An Envoy with this bootstrap; gives its pid."""
    file = directory / f"{name}.json"
    file.write_bytes(configuration if isinstance(configuration, bytes) else configuration.encode())
    command = [str(binary.find(os.environ)), "-c", str(file), "--concurrency", str(concurrency)]
    async with process([*command, "-l", "error", "--use-dynamic-base-id"]) as pid:
        yield pid


class Proxy(msgspec.Struct, frozen=True):
    pid: int
    admin: Path


@asynccontextmanager
async def proxy(paths: Paths, node: str, directory: Path) -> AsyncIterator[Proxy]:
    """One of weft's Envoys, started as the agent starts it."""
    admin = directory / f"admin-{node.rpartition('/')[2]}.sock"
    given = BootstrapInput(
        node=node, admin=str(admin), control=str(paths.xds_socket), fallback=str(paths.fallback_socket)
    )
    async with envoy(bootstrap(given), directory, node.rpartition("/")[2]) as pid:
        yield Proxy(pid, admin)


async def ask_admin(socket_path: Path, path: str) -> dict[str, Any]:
    """What Envoy's admin interface answers, as JSON."""
    transport = httpx2.AsyncHTTPTransport(uds=str(socket_path))
    async with httpx2.AsyncClient(transport=transport, base_url="http://envoy", timeout=30) as client:
        answer = await client.get(path)
        answer.raise_for_status()
        return dict(answer.json())


class Caller:
    """One connection to a proxy's socket that is kept open; ``call`` says how long an answer took."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def call(self, host: str, path: str = "/") -> tuple[float, int]:
        """(seconds, status) of one request. Raises ``ConnectionError`` when the connection ends."""
        begun = time.perf_counter()
        self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += self._receive()
        head, _, body = raw.partition(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        while len(body) < length:
            body += self._receive()
        return time.perf_counter() - begun, int(head.split(b" ", 2)[1])

    def _receive(self) -> bytes:
        data = self.connection.recv(65536)
        if not data:
            raise ConnectionError("the proxy closed the connection")
        return data


async def connected(address: Path | tuple[str, int]) -> Caller:
    """Connect as soon as somebody listens."""
    with anyio.fail_after(PATIENCE):
        while True:
            family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
            connection = socket.socket(family, socket.SOCK_STREAM)
            connection.settimeout(PATIENCE)
            try:
                connection.connect(str(address) if isinstance(address, Path) else address)
            except OSError:
                connection.close()
                await anyio.sleep(0.01)
                continue
            return Caller(connection)


def answering(listen: Path | tuple[str, int], admin_socket: Path, body: str = "x") -> str:
    """The bootstrap of an Envoy that answers everything itself: an upstream as fast as there can be."""
    address: dict[str, Any] = (
        {"pipe": {"path": str(listen)}}
        if isinstance(listen, Path)
        else {"socket_address": {"address": listen[0], "port_value": listen[1]}}
    )
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": body}}}
    return plain(address, [route], [], admin_socket)


def plain(address: dict[str, Any], routes: list[Any], clusters: list[Any], admin_socket: Path) -> str:
    """The least that a proxy can be: one HTTP listener, its routes, no statistics, logs or filters but the router."""
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "router", "typed_config": router}],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return msgspec.json.encode(
        {
            "admin": {"address": {"pipe": {"path": str(admin_socket)}}},
            "static_resources": {
                "listeners": [{"name": "in", "address": address, "filter_chains": [chain]}],
                "clusters": clusters,
            },
        }
    ).decode()


def plain_cluster(name: str, address: dict[str, Any]) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": address}}
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}}
