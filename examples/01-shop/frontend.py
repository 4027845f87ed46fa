"""The shop's front: one page made of what the other services say."""

from __future__ import annotations

from serving import VERSION, Answer, Headers, call, serve


def handle(method: str, path: str, headers: Headers) -> Answer:
    """``/`` is the whole page, ``/reviews/N`` the reviews of one product. A part that fails fails the page: nothing is hidden."""
    if path.startswith("/reviews/"):
        status, reviews = call("reviews", path.removeprefix("/reviews"), headers)
        return (200 if status == 200 else 502), {"frontend": VERSION, "reviews": reviews, "reviewsStatus": status}
    if path != "/":
        return 404, {"error": f"{method} {path}: there is / and /reviews/1"}
    parts = {
        "product": call("catalog", "/products/1", headers),
        "reviews": call("reviews", "/1", headers),
        "cart": call("cart", "/", headers),
    }
    page = {"frontend": VERSION, **{name: value for name, (_, value) in parts.items()}}
    return (200 if all(status == 200 for status, _ in parts.values()) else 502), page


if __name__ == "__main__":
    serve(handle)
