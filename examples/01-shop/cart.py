"""The customer's cart. It asks pricing, over gRPC, what the goods cost."""

from __future__ import annotations

import json
import os

import grpc
from serving import VERSION, Answer, Headers, serve

GOODS = {"1": 2, "2": 1}
TARGET = os.environ.get("PRICING_URL", "pricing:9090").removeprefix("http://").rstrip("/")
CHANNEL = grpc.insecure_channel(TARGET)
PRICE = CHANNEL.unary_unary(
    "/shop.Pricing/Price",
    request_serializer=lambda value: json.dumps(value).encode(),
    response_deserializer=json.loads,
)


def handle(method: str, path: str, headers: Headers) -> Answer:
    """``/``: what is in the cart and what it costs."""
    try:
        priced = PRICE({"goods": GOODS}, timeout=5)
    except grpc.RpcError as error:
        return 502, {"cart": VERSION, "error": f"pricing: {error.code().name}: {error.details()}"}
    return 200, {"cart": VERSION, "items": sum(GOODS.values()), **priced}


if __name__ == "__main__":
    serve(handle)
