"""Something outside the mesh, for tests: HTTP on one port of loopback, and a server that speaks first on another.

HTTPS is on a third one, with the certificate and key of the file that is its argument. Prints the ports as one line of
JSON, and then serves until its standard input ends. HTTP answers the Host header and the path.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            first, *lines = head.decode("latin-1").strip().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            body = f"outside {headers['host']} {first.split(' ')[1]}\n".encode()
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        writer.write(b"220 outside is ready\n")
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    kinds = ((http, None), (raw, None), (http, context))
    servers = [await asyncio.start_server(handler, "127.0.0.1", 0, ssl=tls) for handler, tls in kinds]
    sys.stdout.write(json.dumps([server.sockets[0].getsockname()[1] for server in servers]) + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
