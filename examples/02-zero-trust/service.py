"""A service that answers, and on its front page asks another: ``python service.py web orders/orders``.

Nothing here knows of identities, certificates or policies. What came with a request as ``authorization`` goes on with it.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, *ASKED = sys.argv[1:]


def ask(target: str, token: str | None) -> tuple[int, object]:
    """GET ``http://<target>``: status and what it said."""
    headers = {"authorization": token} if token else {}
    request = urllib.request.Request(f"http://{target}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - http only
            return 200, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace").strip()
    except (OSError, ValueError) as error:
        return 502, str(error)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        said: dict[str, object] = {"service": NAME, "path": self.path.partition("?")[0]}
        status = 200
        for target in ASKED:
            status, said[target.partition("/")[0]] = ask(target, self.headers.get("authorization"))
        body = json.dumps(said).encode() + b"\n"
        self.send_response(200 if status == 200 else 502)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of http.server
        """Requests are the proxies' to log."""


if __name__ == "__main__":
    ThreadingHTTPServer.daemon_threads = True
    with ThreadingHTTPServer(("0.0.0.0", 8080), Handler) as server:  # noqa: S104 - its own network
        server.serve_forever()
