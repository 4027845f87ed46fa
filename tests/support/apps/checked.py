"""A gRPC server for tests whose health is what the file ``$HEALTH_FILE`` says: the number of a status, 1 for SERVING."""

from __future__ import annotations

import os
from concurrent import futures
from pathlib import Path

import grpc


def check(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    return b"\x08" + bytes([int(Path(os.environ["HEALTH_FILE"]).read_text())])


if __name__ == "__main__":
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    server.add_insecure_port(f"{os.environ['HOST']}:{os.environ['PORT']}")
    server.start()
    server.wait_for_termination()
