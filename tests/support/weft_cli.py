"""The command line in process, against servers that answer what a test wrote down."""

from __future__ import annotations

import json
import os
import shutil
import socketserver
import tempfile
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from weft.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    body: bytes
    content_type: str


class Server:
    """One unix socket. ``answers``: ``"GET /path"`` to JSON, bytes, (status, JSON), or a list of them in turn."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, Any] = {}
        self.requests: list[Request] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                split = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                kind = self.headers.get("content-type", "")
                path = unquote(split.path)
                outer.requests.append(Request(self.command, path, dict(parse_qsl(split.query)), body, kind))
                status, data = outer.answer_to(f"{self.command} {path}")
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = answer  # noqa: N815 - the names that http.server looks for

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
                """Tests are quiet."""

            def address_string(self) -> str:
                return "unix"

        self._server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def answer_to(self, asked: str) -> tuple[int, bytes]:
        if asked not in self.answers:
            return 404, json.dumps(
                {"kind": "Status", "reason": "NotFound", "message": f"no answer to {asked}"}
            ).encode()
        answer = self.answers[asked]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        status, value = answer if isinstance(answer, tuple) else (200, answer)
        return status, value if isinstance(value, bytes) else json.dumps(value).encode()

    def asked(self, method: str, path: str) -> Request:
        """The last request of that method and path."""
        return next(each for each in reversed(self.requests) if (each.method, each.path) == (method, path))

    def close(self) -> None:
        if self.path.exists():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self.path.unlink()


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Weft:
    """``weft`` with directories of its own. ``control`` and ``agent`` are the servers it finds."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.control = Server(directory / "control.sock")
        self.agent = Server(directory / "agent.sock")
        self._capture = capture

    def __call__(self, *arguments: str) -> Ran:
        self._capture.readouterr()
        code = main(list(arguments))
        said = self._capture.readouterr()
        return Ran(code, said.out, said.err)

    def close(self) -> None:
        self.control.close()
        self.agent.close()


@pytest.fixture
def weft(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Weft]:
    """The command with both servers. The directory's path is short, because paths of unix sockets must be."""
    directory = Path(tempfile.mkdtemp(prefix="weft-"))
    for name in [name for name in os.environ if name.startswith("WEFT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WEFT_RUNTIME_DIR", str(directory))
    monkeypatch.setenv("WEFT_STATE_DIR", str(directory / "state"))
    monkeypatch.setenv("NO_COLOR", "1")
    made = Weft(directory, capsys)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(directory)


def process(name: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    """A process as the agent shows it; ``reviews-v1-0`` is of service reviews, version v1."""
    service, version, _ = name.rsplit("-", 2) if name.count("-") >= 2 else (name, "", "")
    shown = {
        "namespace": "default",
        "name": name,
        "service": service,
        "version": version,
        "kind": "app",
        "capture": "transparent",
        "state": "serving",
        "reason": "",
        "pid": 100,
        "restarts": 0,
        "since": 0,
        "ports": ["8080"],
    }
    return shown | fields
