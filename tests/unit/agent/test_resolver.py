"""The resolver as the process that it is: sockets handed over, questions answered, sockets taken back."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit.agent.test_dns import ask

if TYPE_CHECKING:
    from collections.abc import Iterator


class Resolver:
    def __init__(self, directory: Path) -> None:
        self.names = directory / "names.json"
        self.path = directory / "resolver.sock"
        self.say({"reviews.default": "240.0.0.7"})
        self.upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.resolv_conf = directory / "resolv.conf"
        self.resolv_conf.write_text("search corp.example.org\n")
        command = [sys.executable, "-m", "weft.agent.resolver", "--socket", str(self.path), "--names", str(self.names)]
        self.process = subprocess.Popen([*command, "--resolv-conf", str(self.resolv_conf)])
        end = time.monotonic() + 20
        while True:
            self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            if self.peer.connect_ex(str(self.path)) == 0:
                break
            self.peer.close()
            assert time.monotonic() < end
        self.peer.settimeout(20)

    def say(self, services: dict[str, str], policy: str = "registryOnly") -> None:
        fresh = self.names.with_suffix(".new")
        fresh.write_text(json.dumps({"services": services, "hosts": {}, "outboundTraffic": policy}))
        fresh.replace(self.names)

    def order(self, what: dict[str, object], *sockets: socket.socket) -> list[str]:
        socket.send_fds(self.peer, [json.dumps(what).encode()], [one.fileno() for one in sockets])
        found = json.loads(self.peer.recv(4096))["have"]
        assert isinstance(found, list)
        return found

    def give(self, workload: str) -> tuple[tuple[str, int], tuple[str, int]]:
        """Hand two sockets over; where they listen."""
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as streams,
        ):
            datagrams.bind(("127.0.0.1", 0))
            streams.bind(("127.0.0.1", 0))
            streams.listen()
            assert workload in self.order({"add": {"workload": workload, "namespace": "default"}}, datagrams, streams)
            return datagrams.getsockname(), streams.getsockname()


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    with tempfile.TemporaryDirectory() as directory:
        made = Resolver(Path(directory))
        yield made
        made.peer.close()
        made.upstream.close()
        made.process.terminate()
        assert made.process.wait(20) == 0


def by_datagram(address: tuple[str, int], message: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.sendto(message, address)
        return client.recv(4096)


def by_stream(address: tuple[str, int], message: bytes) -> bytes:
    with socket.create_connection(address, 20) as client:
        for byte in struct.pack(">H", len(message)) + message:
            client.send(bytes([byte]))
        length = struct.unpack(">H", client.recv(2, socket.MSG_WAITALL))[0]
        return client.recv(length, socket.MSG_WAITALL)


def test_questions_are_answered_over_both_transports_with_the_newest_names(resolver: Resolver) -> None:
    datagrams, streams = resolver.give("default/a")
    assert by_datagram(datagrams, ask("reviews"))[-4:] == socket.inet_aton("240.0.0.7")
    assert by_stream(streams, ask("reviews"))[-4:] == socket.inet_aton("240.0.0.7")
    resolver.say({"reviews.default": "240.0.0.9"})
    assert by_datagram(datagrams, ask("reviews"))[-4:] == socket.inet_aton("240.0.0.9")


def test_sockets_of_workloads_that_are_not_kept_are_closed(resolver: Resolver) -> None:
    _, streams = resolver.give("default/a")
    resolver.give("default/b")
    assert resolver.order({"keep": ["default/b"]}) == ["default/b"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(streams, 20)


def test_damaged_names_leave_those_before_and_hostile_streams_are_cut(resolver: Resolver) -> None:
    datagrams, streams = resolver.give("default/a")
    assert by_datagram(datagrams, ask("reviews"))[-4:] == socket.inet_aton("240.0.0.7")
    resolver.names.write_text("{")
    assert by_datagram(datagrams, ask("reviews"))[-4:] == socket.inet_aton("240.0.0.7")
    with socket.create_connection(streams, 20) as client:
        client.send(b"\xff\xff" + b"x" * 100)
        with_reset = b""
        with contextlib.suppress(ConnectionResetError):
            with_reset = client.recv(1)
        assert with_reset == b""


def test_where_any_traffic_is_allowed_and_no_server_is_known_the_answer_is_a_failure(resolver: Resolver) -> None:
    datagrams, _ = resolver.give("default/a")
    resolver.say({}, "allowAny")
    assert by_datagram(datagrams, ask("example.org"))[3] & 15 == 2


def test_an_order_that_is_none_ends_the_connection_and_nothing_else(resolver: Resolver) -> None:
    datagrams, _ = resolver.give("default/a")
    resolver.peer.send(b"[]")
    assert resolver.peer.recv(10) == b""
    assert by_datagram(datagrams, ask("reviews"))[-4:] == socket.inet_aton("240.0.0.7")
