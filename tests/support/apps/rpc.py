"""A gRPC server for tests: every shape of call, over bytes. ``Cancelled`` tells how many calls of ``Wait`` were given up."""

from __future__ import annotations

import os
import threading
from concurrent import futures
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

CODES = {code.value[0]: code for code in grpc.StatusCode}
ENDED = threading.Semaphore(0)


def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
    sent = {key: value for key, value in context.invocation_metadata() or () if key.startswith("x-test")}
    context.send_initial_metadata(tuple(sent.items()))
    context.set_trailing_metadata((("x-after", "yes"),))
    return request


def collect(requests: Iterator[bytes], _context: grpc.ServicerContext) -> bytes:
    return b"%d" % sum(len(each) for each in requests)


def count(request: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
    for number in range(int(request)):
        yield b"%d" % number


def chat(requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
    for each in requests:
        yield b"you said " + each


def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
    code, _, details = request.decode().partition(":")
    context.abort(CODES[int(code)], details)


def remaining(_request: bytes, context: grpc.ServicerContext) -> bytes:
    return b"%f" % context.time_remaining()


def wait(_request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    yield b"waiting"
    over = threading.Event()
    context.add_callback(over.set)
    over.wait(30)
    ENDED.release()


def cancelled(request: bytes, _context: grpc.ServicerContext) -> bytes:
    """Waits until so many calls of ``Wait`` have ended."""
    return b"%d" % sum(ENDED.acquire(timeout=10) for _ in range(int(request)))


def main() -> None:
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Collect": grpc.stream_unary_rpc_method_handler(collect),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Remaining": grpc.unary_unary_rpc_method_handler(remaining),
        "Wait": grpc.unary_stream_rpc_method_handler(wait),
        "Cancelled": grpc.unary_unary_rpc_method_handler(cancelled),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Rpc", handlers),))
    server.add_insecure_port(f"{os.environ.get('HOST', '0.0.0.0')}:{os.environ.get('PORT', '9090')}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
