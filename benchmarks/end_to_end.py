"""From an apply to the last ACK: store, pipeline, delta streams, proxies.

A control plane runs in this process with its store, files and sockets as always. First one real Envoy is connected and has
called a service; then a thousand synthetic delta clients, in a process of their own, that ask for the same. Each run
applies one changed weight, or one more endpoint, through the HTTP API.

``*_apply_ms_*`` is from sending the request to the last ACK; ``*_settled_*`` is from the moment at which the change stands in
the store to the last ACK, so ``thousand_settled_p50_ms`` is the median of when the last of a thousand has ACKed.
``thousand_settled_cpu_ms`` is the control plane's CPU time for it (median), which a busy machine does not change much;
``bare_grpc_cpu_ms`` of ``xds_fanout`` says what of it gRPC needs for itself. ``no_op_bytes`` is what a thousand proxies are
sent when the same is applied again.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import grpc
import httpx2
import msgspec

from benchmarks.xds_fanout import field
from weft.control.run import Control, opened
from weft.control.settings import Settings
from weft.envoy import binary
from weft.envoy.bootstrap import BootstrapInput, bootstrap
from weft.model.service import Address, Capture, HostReport, Protocol, State, Workload, WorkloadPort
from weft.paths import Paths, prepare
from weft.xds.protocol import CLUSTER, ENDPOINTS, LISTENER, METHOD, VIRTUAL_HOST
from weft.xds.server import EOF

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

STREAMS: Final = 1000
CHANNELS: Final = 20
RUNS: Final = 200
FANOUT_RUNS: Final = 15

SERVICES: Final = "".join(
    f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{{selector}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---"""
    for name, selector in (
        ("web", "app: web"),
        ("reviews", "app: reviews"),
        ("reviews-v1", "app: reviews, version: v1"),
        ("reviews-v2", "app: reviews, version: v2"),
    )
)


def route(weight: int) -> str:
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: split}}
spec:
  parentRefs: [{{group: "", kind: Service, name: reviews}}]
  rules:
  - backendRefs:
    - {{name: reviews-v1, port: 80, weight: {weight}}}
    - {{name: reviews-v2, port: 80, weight: {100 - weight}}}
"""


def extra(count: int) -> str:
    addresses = "".join(f"- addresses: [10.0.0.{number + 1}]\n" for number in range(count))
    return f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: more, labels: {{kubernetes.io/service-name: reviews-v1}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints:
{addresses}"""


def workload(name: str, directory: Path, number: int, **labels: str) -> Workload:
    port = WorkloadPort(
        number=8080,
        name="http",
        protocol=Protocol.HTTP,
        listen=Address(path=str(directory / f"{name}.sock")),
        application=Address(ip="127.0.0.1", port=8080),
        state=State.SERVING,
    )
    outbound = Address(path=str(directory / f"out-{number}.sock"))
    return Workload(
        namespace="default",
        name=name,
        host="bench",
        capture=Capture.PROXY,
        labels=tuple(sorted(labels.items())),
        ports=(port,),
        outbound=outbound,
    )


def report(directory: Path, proxies: int) -> HostReport:
    made = [workload(f"web-{number}", directory, number, app="web") for number in range(proxies)]
    made += [workload(f"reviews-{each}", directory, 9999, app="reviews", version=each) for each in ("v1", "v2")]
    return HostReport(host="bench", workloads=tuple(made))


class Plane:
    """A running control plane and a client of its API."""

    def __init__(self, control: Control, client: httpx2.AsyncClient) -> None:
        self.control = control
        self.client = client
        self.cpu: list[float] = []
        """Milliseconds of CPU time of this process from each settled change to the last ACK."""

    async def apply(self, text: str) -> int:
        answer = await self.client.post("/weft/v1/apply?owner=bench", content=text.encode())
        answer.raise_for_status()
        found = answer.json()
        if found["problems"]:
            raise ValueError(found["problems"])
        return int(found["revision"])

    async def report(self, made: HostReport) -> None:
        content = msgspec.json.encode(made)
        (await self.client.put("/weft/v1/hosts/bench", content=content)).raise_for_status()

    async def timed(self, text: str) -> tuple[float, float]:
        """(milliseconds from sending to the last ACK, and from the settled change to it)."""
        latest, fleet = self.control.store.publisher.latest, self.control.fleet
        serial = latest.serial
        stood: list[float] = []
        acked: list[float] = []
        used: list[float] = []

        async def watch() -> None:
            _, world = await latest.newer_than(serial)
            stood.append(time.perf_counter())
            used.append(time.process_time())
            # Every proxy is offered the change before this task goes on: settled() then waits for their answers.
            await self.control.engine.acknowledged(world.revision, 30)
            acked.append(time.perf_counter())
            self.cpu.append((time.process_time() - used[0]) * 1000)

        begun = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            await self.apply(text)
        if not fleet.nodes():
            raise RuntimeError("no proxy is connected")
        return (acked[0] - begun) * 1000, (acked[0] - stood[0]) * 1000


@asynccontextmanager
async def plane(directory: Path) -> AsyncIterator[Plane]:
    paths = Paths(directory / "s", directory / "r")
    if problems := prepare(paths):
        raise RuntimeError(str(problems[0]))
    settings = Settings(paths=paths)
    async with anyio.create_task_group() as tasks, opened(settings) as control:
        await control.serve(tasks)
        transport = httpx2.AsyncHTTPTransport(uds=str(paths.control_socket))
        async with httpx2.AsyncClient(transport=transport, base_url="http://weft", timeout=60) as client:
            yield Plane(control, client)
        tasks.cancel_scope.cancel()


async def one_envoy(directory: Path) -> dict[str, float]:
    """The whole way with one real Envoy that has called ``reviews``."""
    async with plane(directory) as made:
        await made.apply(SERVICES + route(50))
        await made.report(report(directory, 1))
        node = "sidecar/default/web-0"
        paths = made.control.settings.paths
        given = BootstrapInput(
            node=node,
            admin=str(directory / "admin.sock"),
            control=str(paths.xds_socket),
            fallback=str(paths.fallback_socket),
        )
        file = directory / "bootstrap.json"
        file.write_bytes(bootstrap(given))
        command = [str(binary.find(os.environ)), "-c", str(file), "--concurrency", "1", "-l", "error"]
        envoy = await asyncio.create_subprocess_exec(*command, "--use-dynamic-base-id", stdout=subprocess.DEVNULL)
        try:
            await _call(directory / "out-0.sock", "reviews")
            weights = [await made.timed(route(1 + number % 98)) for number in range(RUNS)]
            endpoints = [await made.timed(extra(1 + number % 2)) for number in range(RUNS)]
        finally:
            envoy.terminate()
            await envoy.wait()
    return {
        "one_envoy_settled_p50_ms": statistics.median(each[1] for each in weights),
        "one_envoy_settled_p99_ms": p99(each[1] for each in weights),
        "one_envoy_apply_p50_ms": statistics.median(each[0] for each in weights),
        "one_envoy_apply_p99_ms": p99(each[0] for each in weights),
        "one_envoy_endpoint_settled_p50_ms": statistics.median(each[1] for each in endpoints),
        "one_envoy_endpoint_settled_p99_ms": p99(each[1] for each in endpoints),
    }


def p99(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[int(len(ordered) * 0.99)]


async def _call(socket: Path, host: str) -> None:
    with anyio.fail_after(30):
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(socket))
                break
            except OSError:
                await anyio.sleep(0.01)
    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    await reader.read()
    writer.close()


def kind_and_nonce(response: bytes) -> tuple[bytes, bytes]:
    """Type URL and nonce of a ``DeltaDiscoveryResponse``, without looking into its resources."""
    found = {}
    at = 0
    while at < len(response):
        tag, length, shift = response[at] >> 3, 0, 0
        while True:
            at += 1
            length |= (response[at] & 0x7F) << shift
            shift += 7
            if response[at] < 0x80:
                break
        found[tag] = response[at + 1 : at + 1 + length]
        at += 1 + length
    return found[4], found[5]


async def synthetic(channel: grpc.aio.Channel, node: str, received: list[int]) -> None:
    """One delta client with the subscriptions of a proxy that has called ``reviews``; it ACKs everything."""
    call: Any = channel.stream_stream(METHOD, None, None)()  # type: ignore[call-arg]  # the stubs ask for too much
    await call.write(field(1, field(1, node.encode())) + field(2, CLUSTER.encode()))
    await call.write(field(2, LISTENER.encode()))
    await call.write(field(2, VIRTUAL_HOST.encode()) + field(3, b"outbound/reviews"))
    names = [f"outbound|80||reviews-{version}.default.svc.cluster.local".encode() for version in ("v1", "v2")]
    await call.write(field(2, ENDPOINTS.encode()) + b"".join(field(3, name) for name in names))
    while (data := await call.read()) is not EOF:
        received[0] += len(data)
        kind, nonce = kind_and_nonce(data)
        await call.write(field(2, kind) + field(6, nonce))


async def clients(path: str) -> None:
    """A thousand of them; a line on standard input asks for the bytes received so far."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(f"unix:{path}", options=options) for _ in range(CHANNELS)]
    received = [0]
    async with anyio.create_task_group() as tasks:
        for number in range(STREAMS):
            tasks.start_soon(synthetic, channels[number % CHANNELS], f"sidecar/default/web-{number}", received)
        while await anyio.to_thread.run_sync(sys.stdin.readline):
            print(received[0], flush=True)  # noqa: T201 - the answer


async def thousand(directory: Path) -> dict[str, float]:
    """The same change to a thousand proxies."""
    async with plane(directory) as made:
        await made.apply(SERVICES + route(50))
        await made.report(report(directory, STREAMS))
        socket = str(made.control.settings.paths.xds_socket)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.end_to_end",
            socket,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            with anyio.fail_after(60):
                fleet = made.control.fleet
                while len(fleet.nodes()) < STREAMS:
                    await fleet.demands.newer_than(fleet.demands.serial)
            await made.timed(route(49))
            made.cpu.clear()
            weights = [await made.timed(route(1 + number)) for number in range(FANOUT_RUNS)]
            cpu = statistics.median(made.cpu)
            endpoints = [await made.timed(extra(1 + number % 2)) for number in range(FANOUT_RUNS)]
            before = await _received(process)
            await made.apply(route(FANOUT_RUNS))
            await made.report(report(directory, STREAMS))
            await made.control.settler.settled.newer_than(made.control.settler.settled.serial - 1)
            no_op = await _received(process) - before
        finally:
            process.terminate()
            await process.wait()
    return {
        "thousand_settled_p50_ms": statistics.median(each[1] for each in weights),
        "thousand_settled_worst_ms": max(each[1] for each in weights),
        "thousand_endpoint_settled_p50_ms": statistics.median(each[1] for each in endpoints),
        "thousand_settled_cpu_ms": cpu,
        "thousand_apply_p50_ms": statistics.median(each[0] for each in weights),
        "no_op_bytes": no_op,
    }


async def _received(process: asyncio.subprocess.Process) -> int:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the clients were started without pipes")
    process.stdin.write(b"\n")
    return int(await process.stdout.readline())


def main() -> None:
    if len(sys.argv) > 1:
        asyncio.run(clients(sys.argv[1]))
        return
    figures: dict[str, float] = {}
    for part in (one_envoy, thousand):
        directory = Path(tempfile.mkdtemp(prefix="weft-"))
        try:
            figures |= anyio.run(part, directory)
        finally:
            shutil.rmtree(directory)
    print(json.dumps(figures))  # noqa: T201 - the figures


if __name__ == "__main__":
    main()
