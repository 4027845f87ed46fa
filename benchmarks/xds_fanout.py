"""One change to a thousand delta streams: from ``Fleet.offer`` to the last ACK, over a unix socket.

The clients run in a process of their own and answer every response. Each run changes one cluster (about 1 kB) of ten:
``last_ack_ms`` is the worst run, ``median_ms`` the median; ``no_op_us`` is offering the same objects to all again;
``connect_ms`` is everybody joining and getting the first state. ``bare_grpc_cpu_ms`` is what gRPC alone needs for the
same exchange in the same minute, so that ``cpu_ratio_to_bare_grpc`` says what weft adds, on a busy machine too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import grpc

from tests.support.delta import resource
from weft.control.run import COLLECTIONS
from weft.model.view import Demand
from weft.xds.fleet import Fleet
from weft.xds.protocol import CLUSTER, METHOD, ResourceSet
from weft.xds.server import EOF, serve
from weft.xds.wire import encode_response, varint

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS: Final = 1000
CHANNELS: Final = 20
RUNS: Final = 15


def field(number: int, data: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + varint(len(data)) + data


def nonce_of(response: bytes) -> bytes:
    """The nonce of a response that ``wire.encode_response`` made: it is its last field."""
    return response[response.rindex(b"\x2a") + 2 :]


async def client(channel: grpc.aio.Channel, node: str) -> None:
    call: Any = channel.stream_stream(METHOD, None, None)()  # type: ignore[call-arg]  # the stubs ask for too much
    kind = field(2, CLUSTER.encode())
    await call.write(field(1, field(1, node.encode())) + kind)
    while (data := await call.read()) is not EOF:
        await call.write(kind + field(6, nonce_of(data)))


async def clients(path: str) -> None:
    channels = [
        grpc.aio.insecure_channel(f"unix:{path}", options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(CHANNELS)
    ]
    await asyncio.gather(
        *(client(channels[number % CHANNELS], f"sidecar/default/{number}") for number in range(STREAMS))
    )


def worlds() -> Iterator[ResourceSet]:
    """The same ten clusters, one of them changed each time."""
    fixed = {f"c{number}": resource(CLUSTER, f"c{number}", b"x" * 1000) for number in range(9)}
    for revision in range(1_000_000):
        changed = resource(CLUSTER, "changed", b"%d" % revision + b"y" * 1000)
        yield ResourceSet(types={CLUSTER: {**fixed, "changed": changed}})


async def push(fleet: Fleet, world: ResourceSet, revision: int, cpu: list[float]) -> float:
    start, used = time.perf_counter(), time.process_time()
    for node in fleet.nodes():
        fleet.offer(node, world, Demand(), revision)
    await fleet.settled(revision)
    cpu.append((time.process_time() - used) * 1000)
    return (time.perf_counter() - start) * 1000


class Bare(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """The same exchange without weft: what gRPC itself costs on this machine, now."""

    def __init__(self) -> None:
        self.wakes: list[asyncio.Event] = []
        self.acks = 0
        self.done = asyncio.Event()
        self.connected = asyncio.Event()
        changed = next(worlds()).of(CLUSTER)["changed"]
        self.response = encode_response(CLUSTER, "1", [changed.wire], [])

    def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        return grpc.stream_stream_rpc_method_handler(self.handle)

    async def handle(self, _: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        await context.read()
        wake = asyncio.Event()
        self.wakes.append(wake)
        writer = asyncio.create_task(self.write(wake, context))
        if len(self.wakes) == STREAMS:
            self.connected.set()
        while (await context.read()) is not EOF:
            self.acks += 1
            if self.acks == STREAMS:
                self.done.set()
        writer.cancel()

    async def write(self, wake: asyncio.Event, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        while True:
            await wake.wait()
            wake.clear()
            await context.write(self.response)


async def bare(path: Path) -> float:
    """Milliseconds of CPU for one response to every stream and all ACKs, by gRPC alone (median)."""
    handler = Bare()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.xds_fanout", "clients", str(path)])  # noqa: ASYNC220, S603 - ourselves
    try:
        await handler.connected.wait()
        used = []
        for _ in range(RUNS):
            handler.acks = 0
            handler.done.clear()
            start = time.process_time()
            for wake in handler.wakes:
                wake.set()
            await handler.done.wait()
            used.append((time.process_time() - start) * 1000)
    finally:
        process.kill()
        process.wait()
        await server.stop(None)
    return statistics.median(used)


async def measure(path: Path) -> dict[str, float]:
    floor = await bare(path.with_name("bare.sock"))
    fleet = Fleet(time.monotonic)
    world = worlds()
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve, fleet, path)
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.xds_fanout", "clients", str(path)])  # noqa: ASYNC220, S603 - ourselves
        try:
            while len(fleet.nodes()) < STREAMS:
                await fleet.demands.newer_than(fleet.demands.serial)
            first = next(world)
            for node in fleet.nodes():
                fleet.offer(node, first, Demand(), 1)
            await fleet.settled(1)
            # As the control process does once it stands: what lives long is not looked at again and again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECTIONS)
            connect = (time.perf_counter() - start) * 1000
            cpu: list[float] = []
            times = [await push(fleet, next(world), 2 + run, cpu) for run in range(RUNS)]
            used = statistics.median(cpu)
            same = next(world)
            await push(fleet, same, 100, cpu)
            no_op = await push(fleet, same, 101, cpu)
        finally:
            process.kill()
            process.wait()
        tasks.cancel_scope.cancel()
    return {
        "connect_ms": connect,
        "last_ack_ms": max(times),
        "median_ms": statistics.median(times),
        "server_cpu_ms": used,
        "bare_grpc_cpu_ms": floor,
        "cpu_ratio_to_bare_grpc": used / floor,
        "no_op_us": no_op * 1000,
    }


def main() -> None:
    if sys.argv[1:2] == ["clients"]:
        asyncio.run(clients(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as directory:
        figures = anyio.run(measure, Path(directory) / "xds.sock")
    print(json.dumps(figures))  # noqa: T201 - the figures


if __name__ == "__main__":
    main()
