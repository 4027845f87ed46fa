"""What the shop's services share: an HTTP server and a call to another service, from the standard library.

Nothing here knows of a mesh. A service is called by its name, like ``http://reviews/1``.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ.get("VERSION", "v1")
PASSED_ON = ("x-request-id", "traceparent", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "end-user")
"""Headers that a service hands on with its own calls, so that traces and experiments follow the request."""

Headers = dict[str, str]
Answer = tuple[int, object]
Handle = Callable[[str, str, Headers], Answer]


def call(service: str, path: str, headers: Headers, timeout: float = 5.0) -> Answer:
    """GET ``http://<service><path>``: status and JSON. Status 0 when there was no answer at all."""
    base = os.environ.get(f"{service.upper()}_URL", f"http://{service}").rstrip("/")
    request = urllib.request.Request(  # noqa: S310 - http only
        base + path, headers={name: headers[name] for name in PASSED_ON if name in headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310 - as above
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, {"error": error.read().decode(errors="replace")[:300]}
    except (OSError, ValueError) as error:
        return 0, {"error": f"{service}: {error}"}


def serve(handle: Handle) -> None:
    """Answer requests with ``handle(method, path, headers)`` on $PORT, or 8080, until the end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, value = handle(self.command, self.path, headers)
            body = json.dumps(value).encode() + b"\n"
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 - the names that http.server looks for

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Only what is interesting is logged."""

    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 128
    address = (os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080")))  # noqa: S104 - its own network
    with ThreadingHTTPServer(address, Handler) as server:
        print(f"version {VERSION} listens on {address[1]}", flush=True)  # noqa: T201 - its log
        server.serve_forever()
