"""A real HTTPS server on loopback that answers what a test wrote down."""

from __future__ import annotations

import ssl
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import msgspec

from tests.support.trust import key_pem, pem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec


class Page(msgspec.Struct):
    """``drip``: one byte at a time, for ever."""

    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    drip: bool = False
    asked: list[str] = msgspec.field(default_factory=list)


@contextmanager
def https(directory: Path, page: Page, chain: tuple[bytes, ...], private: ec.EllipticCurvePrivateKey) -> Iterator[int]:
    """Serve with this certificate chain (DER); yields the port."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page.asked.append(self.path)
            self.send_response(page.status)
            for name, value in page.headers.items():
                self.send_header(name, value)
            if page.drip:
                self.end_headers()
                while not ended.is_set():
                    try:
                        self.wfile.write(b" ")
                        self.wfile.flush()
                    except OSError:
                        return
                    time.sleep(0.01)
                return
            self.send_header("content-length", str(len(page.body)))
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
            """Tests are quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that does not like the certificate goes away."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (directory / "server.pem").write_bytes(pem(*chain))
    (directory / "server.key").write_bytes(key_pem(private))
    context.load_cert_chain(directory / "server.pem", directory / "server.key")
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
