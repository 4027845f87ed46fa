"""A server for tests that speaks HTTP, gRPC and TCP (each line back), one port for each, and says on all of them who it is."""

from __future__ import annotations

import http.server
import os
import socketserver
import threading
from concurrent import futures

import grpc

NAME = os.environ.get("WEFT_SERVICE", "triple").encode()
HOST = "127.0.0.1"


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(NAME)))
        self.end_headers()
        self.wfile.write(NAME)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Tcp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while self.rfile.readline():
            self.wfile.write(NAME + b"\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    handler = grpc.unary_unary_rpc_method_handler(lambda _request, _context: NAME)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Triple", {"Who": handler}),))
    server.add_insecure_port(f"{HOST}:{os.environ['PORT_GRPC']}")
    server.start()
    tcp = Server((HOST, int(os.environ["PORT_TCP"])), Tcp)
    threading.Thread(target=tcp.serve_forever, daemon=True).start()
    web = http.server.ThreadingHTTPServer((HOST, int(os.environ["PORT_HTTP"])), Http)
    web.serve_forever()


if __name__ == "__main__":
    main()
