"""Delta clients without an Envoy, many in one process: ``python -m tests.support.synthetic SOCKET COUNT MODE``.

They have the subscriptions of a proxy that has called ``reviews``, and answer every response as MODE says: ``ack``,
``nack`` (everything is refused) or ``silent`` (nothing is answered). Nodes are ``sidecar/default/web-0`` and on, or, with a
fourth argument, from that number on. The process prints ``ready``, and connects when it reads a line.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
import grpc

from benchmarks.end_to_end import kind_and_nonce
from benchmarks.xds_fanout import field
from weft.xds.protocol import CLUSTER, ENDPOINTS, LISTENER, METHOD, VIRTUAL_HOST
from weft.xds.server import EOF

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PER_CHANNEL: Final = 50
REFUSAL: Final = field(7, field(2, b"this client refuses everything"))
CLUSTERS: Final = [f"outbound|80||reviews-{version}.default.svc.cluster.local".encode() for version in ("v1", "v2")]


async def client(channel: grpc.aio.Channel, node: str, mode: str) -> None:
    """One stream, until the server ends it."""
    call: Any = channel.stream_stream(METHOD, None, None)()  # type: ignore[call-arg]  # the stubs ask for too much
    await call.write(field(1, field(1, node.encode())) + field(2, CLUSTER.encode()))
    await call.write(field(2, LISTENER.encode()))
    await call.write(field(2, VIRTUAL_HOST.encode()) + field(3, b"outbound/reviews"))
    await call.write(field(2, ENDPOINTS.encode()) + b"".join(field(3, name) for name in CLUSTERS))
    while (data := await call.read()) is not EOF:
        kind, nonce = kind_and_nonce(data)
        if mode != "silent":
            await call.write(field(2, kind) + field(6, nonce) + (REFUSAL if mode == "nack" else b""))


async def main(socket: str, count: int, mode: str, first: int) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(f"unix:{socket}", options=options) for _ in range(1 + count // PER_CHANNEL)]
    print("ready", flush=True)  # noqa: T201 - the protocol with the parent
    await anyio.to_thread.run_sync(sys.stdin.readline)
    async with anyio.create_task_group() as tasks:
        for number in range(count):
            channel = channels[number % len(channels)]
            tasks.start_soon(client, channel, f"sidecar/default/web-{first + number}", mode)


class Clients:
    """A process of them."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def connect(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")


@asynccontextmanager
async def clients(socket: Path, count: int, mode: str = "ack", first: int = 0) -> AsyncIterator[Clients]:
    """Ready, and not connected yet."""
    arguments = (str(socket), str(count), mode, str(first))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.synthetic", *arguments),
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield Clients(process)
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
