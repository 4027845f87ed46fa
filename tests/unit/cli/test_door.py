"""The command line at control's door, against a real TLS server."""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.support.secrets import Authority
from weft import private
from weft.agent import remote
from weft.agent.remote import Joined
from weft.cli.client import Failed, Refused
from weft.cli.door import Connection, client
from weft.model.service import Address
from weft.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTROL = "spiffe://local/weft/control"


class Answer(BaseHTTPRequestHandler):
    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        problem = {"code": "WFT-1861", "message": "no", "remedy": "x", "origin": {"source": "t"}}
        status, body = {
            "/good": (200, json.dumps({"said": self.command}).encode()),
            "/refused": (403, json.dumps({"details": {"problems": [problem]}}).encode()),
            "/strange": (500, b"<html>"),
            "/list": (400, b"[]"),
        }[self.path]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
        """Tests are quiet."""


@contextmanager
def serving(authority: Authority, identity: str, directory: Path) -> Iterator[Address]:
    made = authority.svid(identity)
    file = directory / "server.pem"
    file.write_bytes(made.key + made.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = HTTPServer(("127.0.0.1", 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Address(ip="127.0.0.1", port=server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_control_answers_and_the_way_there_is_known(tmp_path: Path) -> None:
    authority = Authority("local")
    with serving(authority, CONTROL, tmp_path) as where:
        connection = Connection(where, remote.context(authority.root.decode()), CONTROL)
        assert connection.json("GET", "/good") == {"said": "GET"}
        assert connection.json("POST", "/good", b"{}") == {"said": "POST"}
        assert connection.local == "127.0.0.1"


def test_refusals_say_what_control_said(tmp_path: Path) -> None:
    authority = Authority("local")
    with serving(authority, CONTROL, tmp_path) as where:
        connection = Connection(where, remote.context(authority.root.decode()), CONTROL)
        for path, code in (("/refused", "WFT-1861"), ("/strange", "WFT-1704"), ("/list", "WFT-1704")):
            with pytest.raises(Refused) as refused:
                connection.json("GET", path)
            assert [problem.code for problem in refused.value.problems] == [code]


@pytest.mark.parametrize("identity", ["spiffe://local/ns/default/sa/web", "spiffe://elsewhere/weft/control"])
def test_a_good_certificate_of_somebody_else_is_not_control(tmp_path: Path, identity: str) -> None:
    authority = Authority("local")
    with serving(authority, identity, tmp_path) as where, pytest.raises(Failed, match="WFT-1863"):
        Connection(where, remote.context(authority.root.decode()), CONTROL).json("GET", "/good")


def test_a_certificate_of_another_root_is_not_control(tmp_path: Path) -> None:
    with serving(Authority("local"), CONTROL, tmp_path) as where, pytest.raises(Failed, match="WFT-1863"):
        Connection(where, remote.context(Authority("local").root.decode()), CONTROL).json("GET", "/good")


def test_where_nobody_listens_there_is_no_control() -> None:
    context = remote.context(Authority("local").root.decode())
    with pytest.raises(Failed, match="there is no control plane"):
        Connection(Address(ip="127.0.0.1", port=9), context, CONTROL).json("GET", "/good")


def test_the_api_of_the_mesh_that_this_host_joined(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "s", tmp_path / "r")
    with pytest.raises(Failed, match="WFT-1860"):
        client(paths, "")
    paths.host_identity.mkdir(parents=True)
    authority = Authority("local")
    (paths.host_identity / remote.BUNDLE).write_bytes(authority.root)
    with serving(authority, CONTROL, tmp_path) as where:
        private.replace(paths.joined, remote.encode(Joined("bert", str(where), "10.0.0.2", "local")))
        assert client(paths, "secret").get("/good") == {"said": "GET"}
        with pytest.raises(Failed, match="WFT-1513"):
            client(paths, "").get("/good")
    with serving(authority, "spiffe://local/ns/default/sa/web", tmp_path) as where:
        private.replace(paths.joined, remote.encode(Joined("bert", str(where), "10.0.0.2", "local")))
        with pytest.raises(Failed, match="WFT-1703"):
            client(paths, "secret").get("/good")
