"""A program that looks like an Envoy to the agent: its command line, its admin socket, its hot restart. Nothing else.

It reads in the bootstrap where its admin socket is. ``/stats`` answers what file ``$STATS`` says. With a file ``$STATS.refuse``
a hot restart ends at once, as Envoy does when it cannot take over. A successor does not end the one before it.
"""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import sys
from pathlib import Path
from typing import Any


def program(directory: Path) -> Path:
    """An executable for the agent's command line."""
    path = directory / "envoy"
    code = f"import os, runpy\nos.environ['STATS'] = {str(directory / 'stats')!r}\n"
    path.write_text(f"#!{sys.executable}\n{code}runpy.run_path({__file__!r}, run_name='__main__')\n")
    path.chmod(0o755)
    return path


def bootstrap(admin: Path) -> bytes:
    return json.dumps({"admin": {"address": {"pipe": {"path": str(admin)}}}}).encode()


def main() -> None:
    options = dict(zip(sys.argv, sys.argv[1:], strict=False))
    config = json.loads(Path(options["--config-path"]).read_bytes())
    epoch, stats = int(options["--restart-epoch"]), Path(os.environ["STATS"])
    admin = Path(config["admin"]["address"]["pipe"]["path"])
    if epoch and stats.with_name("stats.refuse").exists():
        sys.exit("cannot take over")
    if path := options.get("--base-id-path"):
        Path(path).write_text("4242\n")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def address_string(self) -> str:
            return "unix"

        def do_GET(self) -> None:
            body = b""
            if self.path == "/server_info":
                said: dict[str, Any] = {"state": "LIVE", "command_line_options": {"restart_epoch": epoch}}
                body = json.dumps(said).encode()
            elif self.path.startswith("/stats") and stats.exists():
                body = stats.read_bytes()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - http.server's name

    fresh = admin.with_name(f"admin.{epoch}")
    fresh.unlink(missing_ok=True)
    with socketserver.ThreadingUnixStreamServer(str(fresh), Handler) as server:
        fresh.rename(admin)
        server.serve_forever()


if __name__ == "__main__":
    main()
