"""A TCP server for tests that speaks first, as SMTP and MySQL do: a greeting, then every line back. Standard library."""

from __future__ import annotations

import asyncio
import os
import signal

NAME = os.environ.get("WEFT_SERVICE", "hello")


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        writer.write(f"220 {NAME} is ready\n".encode())
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with server:
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
