"""What customers wrote, in three versions: v1 has no stars, v2 black ones, v3 red ones.

POST ``/break`` makes this instance answer 503 until POST ``/mend``; POST ``/crash`` ends it on the spot.
"""

from __future__ import annotations

import os
import threading

from serving import VERSION, Answer, Headers, call, serve

COLOUR = {"v2": "black", "v3": "red"}.get(VERSION)
BROKEN = threading.Event()


def handle(method: str, path: str, headers: Headers) -> Answer:
    """``/N``: the reviews of one product."""
    if method == "POST":
        return command(path)
    if BROKEN.is_set():
        return 503, {"reviews": VERSION, "error": "broken on command"}
    found = {"reviews": VERSION, "text": "An extremely entertaining play. The slapstick humour is refreshing!"}
    if COLOUR is None:
        return 200, found
    status, rating = call("ratings", path, headers)
    if status != 200 or not isinstance(rating, dict):
        return 502, {"reviews": VERSION, "error": f"ratings answered {status}", "ratings": rating}
    return 200, {**found, "stars": rating["stars"], "colour": COLOUR}


def command(path: str) -> Answer:
    """Break, mend or crash."""
    if path == "/crash":
        os._exit(1)
    if path not in ("/break", "/mend"):
        return 404, {"error": "there is /break, /mend and /crash"}
    if path == "/break":
        BROKEN.set()
    else:
        BROKEN.clear()
    return 200, {"reviews": VERSION, "broken": BROKEN.is_set()}


if __name__ == "__main__":
    serve(handle)
