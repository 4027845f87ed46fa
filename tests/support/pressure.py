"""Callers that never stop: requests on connections that stay, while something is changed, and how many of them failed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CALLERS = 6
PATIENCE = 20


@dataclass
class Pressure:
    """What happened so far."""

    done: int = 0
    failures: list[str] = field(default_factory=list)

    async def more(self, count: int = 100) -> None:
        """Wait until so many more calls were answered."""
        wanted = self.done + count
        async with asyncio.timeout(PATIENCE):
            while self.done < wanted and not self.failures:  # noqa: ASYNC110 - a counter
                await asyncio.sleep(0.005)


@asynccontextmanager
async def http1(socket: Path, host: str = "web", wait: float = 0.01) -> AsyncIterator[Pressure]:
    """HTTP/1.1; the application takes ``wait`` seconds for each answer."""
    made = Pressure()

    async def call() -> None:
        reader, writer = await asyncio.open_unix_connection(str(socket))
        head = f"GET / HTTP/1.1\r\nHost: {host}\r\nx-wait: {wait}\r\n\r\n".encode()
        try:
            while True:
                writer.write(head)
                answer = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode().lower()
                length = int(answer.partition("content-length: ")[2].split("\r\n")[0])
                body = await reader.readexactly(length)
                if not answer.startswith("http/1.1 200"):
                    made.failures.append(answer + body.decode())
                made.done += 1
        finally:
            writer.transport.abort()

    async with _running(made, [call() for _ in range(CALLERS)]):
        yield made


@asynccontextmanager
async def grpc_calls(socket: Path, authority: str = "web") -> AsyncIterator[Pressure]:
    """gRPC, all callers on one HTTP/2 connection."""
    made = Pressure()
    options = (("grpc.default_authority", authority), ("grpc.enable_retries", 0))
    async with grpc.aio.insecure_channel(f"unix:{socket}", options=options) as channel:
        method = channel.unary_unary("/test.Echo/Say", request_serializer=bytes, response_deserializer=bytes)

        async def call() -> None:
            while True:
                try:
                    await method(b"x" * 100, timeout=PATIENCE)
                except grpc.aio.AioRpcError as error:
                    made.failures.append(f"{error.code()}: {error.details()}")
                    await asyncio.sleep(0.05)
                made.done += 1

        async with _running(made, [call() for _ in range(CALLERS)]):
            yield made


@asynccontextmanager
async def _running(made: Pressure, calls: list) -> AsyncIterator[None]:  # type: ignore[type-arg]  # coroutines
    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            made.failures.append(f"{type(error).__name__}: {error}")

    tasks = [asyncio.ensure_future(call) for call in calls]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def grpc_echo(socket: Path, wait: float = 0.01) -> grpc.aio.Server:
    """An application that speaks gRPC."""

    async def say(request: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        await asyncio.sleep(wait)
        return request

    server = grpc.aio.server()
    handlers = {"Say": grpc.unary_unary_rpc_method_handler(say)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    return server
