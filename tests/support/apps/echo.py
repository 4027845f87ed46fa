"""An application for tests: says who answered. Standard library, one thread, some 10 MB.

GET / answers ``<service> <version> <name> <n>``. ``/mode/<status>`` (POST) makes it answer that status from now on,
``/mode/200`` heals it, ``/mode/die`` ends the process at once; ``/call/<host>/<path>`` calls another service and hands
its answer on; ``/slow/<seconds>`` waits first. It listens after ``START_DELAY`` seconds.
"""

from __future__ import annotations

import asyncio
import os
import signal

NAME = " ".join(os.environ.get(key, "-") for key in ("WEFT_SERVICE", "WEFT_VERSION", "WEFT_WORKLOAD"))


class App:
    def __init__(self) -> None:
        self.status = 200
        self.count = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        _, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if length := int(headers.get("content-length", "0")):
            await reader.readexactly(length)
        status, body = await self.answer(path.partition("?")[0].strip("/").split("/"))
        keep = headers.get("connection", "").lower() != "close"
        extra = "" if keep else "connection: close\r\n"
        writer.write(f"HTTP/1.1 {status} OK\r\ncontent-length: {len(body)}\r\n{extra}\r\n".encode() + body)
        await writer.drain()
        return keep

    async def answer(self, parts: list[str]) -> tuple[int, bytes]:
        if parts[0] == "mode":
            if parts[1] == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            self.status = int(parts[1])
            return 200, b"so be it\n"
        if parts[0] == "slow":
            await asyncio.sleep(float(parts[1]))
        if parts[0] == "call":
            return await call(parts[1], "/" + "/".join(parts[2:]))
        self.count += 1
        return self.status, f"{NAME} {self.count}\n".encode()


async def call(host: str, path: str) -> tuple[int, bytes]:
    """By name where names resolve, else through the proxy that the environment gives."""
    proxy = os.environ.get("http_proxy", "").removeprefix("http://").rstrip("/")
    name, _, port = (proxy or host).partition(":")
    target = f"http://{host}{path}" if proxy else path
    try:
        reader, writer = await asyncio.open_connection(name, int(port or "80"))
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        raw = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    except (OSError, TimeoutError) as error:
        return 599, f"{error!r}\n".encode()
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


async def main() -> None:
    await asyncio.sleep(float(os.environ.get("START_DELAY", "0")))
    host = os.environ.get("HOST", "0.0.0.0")
    server = await asyncio.start_server(App().handle, host, int(os.environ.get("PORT", "8080")))
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    async with server:
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
