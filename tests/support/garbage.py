"""A hostile client, in a process of its own: ``python -m tests.support.garbage KIND SECONDS SOCKET``.

``SOCKET`` is the path of a unix socket, or ``address:port``. Every kind goes on for so many seconds, as fast as it is let and
whatever it is answered, and prints how often it connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import grpc

from benchmarks.xds_fanout import field
from weft.xds.protocol import CLUSTER, LISTENER, METHOD, VIRTUAL_HOST, Limits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONNECTIONS: Final = 64
"""At a time, of the kinds that speak bytes."""
STREAMS: Final = 2_000
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HELLO: Final = bytes.fromhex("16030100310100002d0303") + bytes(32) + b"\0\0\2\x13\1\1\0\0\2\0\0"


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """One frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


SETTINGS: Final = frame(4)
_GET: Final = b"\x82\x86\x84\x41\x09localhost"
"""A header block: GET http / of localhost."""
_ASKED: Final = b"\x83\x86\x44\x04/a/b\x41\x01h"
"""A header block: POST, http, a path and an authority."""

SAID: Final[dict[str, Callable[[random.Random], bytes]]] = {
    "random": lambda dice: dice.randbytes(65_536),
    "tls": lambda dice: HELLO + dice.randbytes(1_000),
    "preface": lambda _: PREFACE * 1_000,
    "settings": lambda _: PREFACE + SETTINGS * 5_000,
    "pings": lambda _: PREFACE + SETTINGS + frame(6, payload=bytes(8)) * 5_000,
    "resets": lambda _: (
        PREFACE
        + SETTINGS
        + b"".join(frame(1, 4, 2 * n + 1, _ASKED) + frame(3, 0, 2 * n + 1, bytes(4)) for n in range(2_000))
    ),
    "continuations": lambda _: PREFACE + SETTINGS + frame(1, 0, 1, _ASKED) + frame(9, 0, 1, b"\0\1a\1b") * 10_000,
    "headers": lambda _: b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 1_000_000,
    "lines": lambda _: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5_000,
    "bodies": lambda _: (
        b"POST /weft/v1/apply HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n" + b"[" * 1_000_000
    ),
    "chunks": lambda _: (
        b"POST /weft/v1/apply HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n[\r\n" * 100_000
    ),
}
"""What the kinds that speak bytes say on each connection."""


async def connect(where: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if where.startswith("/"):
        return await asyncio.open_unix_connection(where)
    address, _, port = where.rpartition(":")
    return await asyncio.open_connection(address, int(port))


async def spoken(kind: str, where: str, until: float, dice: random.Random) -> int:
    """One connection after the other. Half of them do not read what they are answered."""
    count = 0
    while time.monotonic() < until:
        try:
            reader, writer = await connect(where)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        count += 1
        with contextlib.suppress(OSError, TimeoutError):
            writer.write(SAID[kind](dice))
            await asyncio.wait_for(writer.drain(), 1)
            if count % 2:
                await asyncio.wait_for(reader.read(), 0.2)
        writer.transport.abort()
    return count


async def streams(where: str, until: float, first: bytes, count: int, then: Callable[[Any], Awaitable[None]]) -> int:
    """So many gRPC streams that begin with ``first`` (``NODE`` replaced) and go on with ``then``."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    target = f"unix:{where}" if where.startswith("/") else where
    channels = [grpc.aio.insecure_channel(target, options=options) for _ in range(1 + count // 100)]
    opened = 0

    async def one(number: int) -> None:
        nonlocal opened
        while time.monotonic() < until:
            try:
                call: Any = channels[number % len(channels)].stream_stream(METHOD, None, None)()  # type: ignore[call-arg]  # stubs
                await asyncio.wait_for(call.write(first.replace(b"NODE", b"%04d" % number)), 2)
                opened += 1
                await then(call)
            except (grpc.RpcError, TimeoutError, asyncio.InvalidStateError):
                pass
            except asyncio.CancelledError:
                if time.monotonic() < until - 0.1:
                    await asyncio.sleep(0.05)
                    continue
                raise
            await asyncio.sleep(0.05)

    with anyio.move_on_after(max(0.0, until - time.monotonic())):
        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(one, number)
    return opened


async def rapid(where: str, until: float, connections: int, at_once: int, *, paced: bool = False) -> int:
    """Streams that are begun and reset at once, 2,000 on each of so many connections, or until it is cut. ``paced``: the reset
    follows when the request has been passed on, 250 times on each connection.
    """
    said = [SAID["resets"](random.Random(7))]  # noqa: S311 - not a secret
    if paced:
        said = [PREFACE + SETTINGS]
        for number in range(1, 500, 2):
            said += [frame(1, 5, number, _GET), frame(3, 0, number, bytes(4))]
    left, count = connections, 0

    async def one() -> None:
        nonlocal left, count
        while left > 0 and time.monotonic() < until:
            left -= 1
            with contextlib.suppress(OSError, TimeoutError):
                reader, writer = await connect(where)
                count += 1
                for each in said:
                    writer.write(each)
                    await asyncio.sleep(0.002 if paced else 0)
                await asyncio.wait_for(reader.read(), 0.1 if paced else 2)
                writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(at_once)))
    return count


def node(text: bytes) -> bytes:
    return field(1, field(1, text))


async def names(where: str, until: float) -> int:
    """4 million names on each of four streams, in requests that are as large as is taken."""
    asked = b"".join(field(3, b"outbound/host-%07d" % number) for number in range(180_000))
    assert len(asked) < Limits().request_bytes - 1_000

    async def then(call: Any) -> None:  # noqa: ANN401 - grpc.aio
        for _ in range(23):
            await asyncio.wait_for(call.write(field(2, VIRTUAL_HOST.encode()) + asked), 5)
        await asyncio.sleep(1)

    return await streams(where, until, node(b"sidecar/default/web-1NODE") + field(2, CLUSTER.encode()), 4, then)


async def unread(where: str, until: float) -> int:
    """Proxies of the mesh that ask for everything and never read."""

    async def then(call: Any) -> None:  # noqa: ANN401 - grpc.aio
        await call.write(field(2, LISTENER.encode()))
        await call.write(field(2, VIRTUAL_HOST.encode()) + field(3, b"outbound/reviews"))
        await asyncio.sleep(max(0.0, until - time.monotonic()))

    return await streams(where, until, node(b"sidecar/default/web-NODE") + field(2, CLUSTER.encode()), 40, then)


async def many(where: str, until: float) -> int:
    """2,000 streams of nodes that nobody knows."""

    async def then(_: Any) -> None:  # noqa: ANN401 - grpc.aio
        await asyncio.sleep(max(0.0, until - time.monotonic()))

    return await streams(where, until, node(b"sidecar/evil/robber-NODE") + field(2, CLUSTER.encode()), STREAMS, then)


async def fuzzed(where: str, until: float) -> int:
    """Requests with bytes changed, cut or doubled: wire types, lengths, nonces, versions, nodes."""
    dice = random.Random(7)  # noqa: S311 - an attack that can be repeated
    good = node(b"sidecar/default/web-0001") + field(2, CLUSTER.encode()) + field(3, b"*") + field(6, b"1")
    good += field(5, field(1, b"a") + field(2, b"b")) + field(7, field(2, b"refused"))

    async def then(call: Any) -> None:  # noqa: ANN401 - grpc.aio
        for _ in range(50):
            made = bytearray(good)
            for _ in range(dice.randrange(1, 6)):
                at = dice.randrange(len(made))
                made[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(4))
            await asyncio.wait_for(call.write(bytes(made)), 1)

    return await streams(where, until, node(b"sidecar/default/fuzz-NODE") + field(2, CLUSTER.encode()), 20, then)


RAPID: Final = {"rapid": (80, 8), "storm": (1_500, 64), "paced": (1_500, 16)}
"""Of those that reset streams: how many connections, and how many at a time."""
GRPC: Final = {"names": names, "unread": unread, "many": many, "fuzzed": fuzzed}


async def main(kind: str, seconds: float, where: str) -> None:
    until = time.monotonic() + seconds
    if kind in RAPID:
        count = await rapid(where, until, *RAPID[kind], paced=kind == "paced")
    elif kind in GRPC:
        count = await GRPC[kind](where, until)
    else:
        dice = random.Random(7)  # noqa: S311 - an attack that can be repeated
        count = sum(await asyncio.gather(*(spoken(kind, where, until, dice) for _ in range(CONNECTIONS))))
    print(count, flush=True)  # noqa: T201 - for the parent


async def attack(kind: str, seconds: float, where: Path | tuple[str, int]) -> int:
    """Run one kind in a process of its own; gives how often it connected."""
    target = str(where) if isinstance(where, Path) else f"{where[0]}:{where[1]}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.garbage", kind, str(seconds), target),
        cwd=Path(__file__).parents[2],
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        said = await asyncio.wait_for(process.stdout.read(), seconds + 60)
        return int(said.split()[-1]) if said.split() else 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
