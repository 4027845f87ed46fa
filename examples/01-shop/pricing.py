"""Prices, over gRPC. Messages are JSON, so that no code needs to be generated."""

from __future__ import annotations

import json
import os
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = os.environ.get("VERSION", "v1")
CENTS = {"1": 1295, "2": 950}


def price(request: dict[str, Any], context: grpc.ServicerContext) -> dict[str, Any]:
    """``{"goods": {"1": 2}}``: the total."""
    unknown = [good for good in request["goods"] if good not in CENTS]
    if unknown:
        context.abort(grpc.StatusCode.NOT_FOUND, f"no price for {', '.join(unknown)}")
    cents = sum(CENTS[good] * count for good, count in request["goods"].items())
    return {"pricing": VERSION, "total": f"{cents / 100:.2f}"}


def ticker(request: dict[str, Any], context: grpc.ServicerContext) -> Iterator[dict[str, Any]]:
    """``{"count": N}``: N prices, ten in a second."""
    for number in range(int(request.get("count", 3))):
        yield {"pricing": VERSION, "good": "1", "cents": CENTS["1"] + number}
        time.sleep(0.1)


def main() -> None:
    """Serve on $PORT, or 9090."""

    def encode(value: object) -> bytes:
        return json.dumps(value).encode()

    handlers = {
        "Price": grpc.unary_unary_rpc_method_handler(price, json.loads, encode),
        "Ticker": grpc.unary_stream_rpc_method_handler(ticker, json.loads, encode),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Pricing", handlers),))
    port = server.add_insecure_port(f"{os.environ.get('HOST', '0.0.0.0')}:{os.environ.get('PORT', '9090')}")  # noqa: S104
    server.start()
    print(f"version {VERSION} listens on {port}", flush=True)  # noqa: T201 - its log
    server.wait_for_termination()


if __name__ == "__main__":
    main()
