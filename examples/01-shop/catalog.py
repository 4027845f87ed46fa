"""What the shop sells."""

from __future__ import annotations

from serving import VERSION, Answer, Headers, serve

PRODUCTS = {
    "1": {"name": "The Comedy of Errors", "kind": "book"},
    "2": {"name": "A Midsummer Night's Dream", "kind": "book"},
}


def handle(method: str, path: str, headers: Headers) -> Answer:
    """``/products`` and ``/products/N``."""
    if path == "/products":
        return 200, {"catalog": VERSION, "products": PRODUCTS}
    product = PRODUCTS.get(path.removeprefix("/products/"))
    return (200, {"catalog": VERSION, **product}) if product else (404, {"error": f"no product at {path}"})


if __name__ == "__main__":
    serve(handle)
