"""Transparent capture, with the real Envoy in a network namespace: HTTP is recognised, anything else goes by address."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.envoy.harness import PATIENCE, Rig, rig, service, sidecar, until
from tests.support.needs import SEARCH
from weft.model.route import Backend, Rule, VirtualHost
from weft.model.service import Address, Capture, Endpoint, Protocol
from weft.model.view import Assignment, Demand, Upstream, View
from weft.names import parse_tcp_cluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.needs("unshare", "nsenter", "ip", "nft")]
NODE = "sidecar/default/caller"
CAPTURE = """
ip link set lo up
ip route add local 0.0.0.0/0 dev lo
nft -f - <<RULES
table ip weft {
  chain capture {
    type nat hook output priority -100;
    ip daddr 127.0.0.0/8 return
    ip daddr 248.0.0.0/5 meta l4proto tcp redirect to :15002
    meta l4proto tcp redirect to :15001
  }
}
RULES
exec "$@"
"""
CLIENT = """
import json, socket, sys, time
address, port, said, wanted = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode().decode("unicode_escape"), sys.argv[4]
began = time.monotonic()
got = b""
try:
    with socket.create_connection((address, port), timeout=10) as connection:
        connection.sendall(said.encode("latin1"))
        while wanted.encode() not in got and (more := connection.recv(4096)):
            got += more
except OSError as error:
    got += f"({type(error).__name__})".encode()
print(json.dumps([got.decode("latin1"), time.monotonic() - began]))
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speaks first, then echoes."""
    writer.write(b"220 ready\n")
    while data := await reader.read(4096):
        writer.write(b"echo:" + data)
    writer.close()


class Captured:
    def __init__(self, mesh: Rig, pid: int) -> None:
        self.mesh, self.pid = mesh, pid

    async def say(self, address: str, port: int, said: str = "", wanted: str = "220 ready") -> tuple[str, float]:
        """What a client in the namespace got, and after how many seconds."""
        enter = ("nsenter", "-t", str(self.pid), "-U", "-n", "--preserve-credentials")
        process = await asyncio.create_subprocess_exec(
            *enter, sys.executable, "-c", CLIENT, address, str(port), said, wanted, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        # Nothing at all: the namespace is not there yet.
        text, seconds = json.loads(out or '["", 0]')
        return str(text), float(seconds)

    async def ready(self) -> bool:
        return "220" in (await self.say("248.0.0.1", 1))[0]


def host(name: str) -> VirtualHost:
    return VirtualHost(domain=name, rules=(Rule(source="Service/default/web", backends=(Backend(service("web")),)),))


def with_tcp(view: Callable[[Demand], View], socket: Path) -> Callable[[Demand], View]:
    """Every address is there, but those that begin with 251."""

    def more(demand: Demand) -> View:
        base = view(demand)
        asked = [name for name in sorted(demand.clusters) if parse_tcp_cluster(name)]
        there = [name for name in asked if not name.startswith("tcp|251.")]
        upstreams = tuple(Upstream(name=name, protocol=Protocol.TCP, source="") for name in there)
        ends = (Endpoint(address=Address(path=str(socket))),)
        changes: dict[str, Any] = {
            "upstreams": base.upstreams + upstreams,
            "assignments": base.assignments + tuple(Assignment(name=name, endpoints=ends) for name in there),
            "missing_clusters": tuple(name for name in asked if name not in there),
        }
        return View(**{field: getattr(base, field) for field in View.__struct_fields__} | changes)

    return more


async def captured(mesh: Rig) -> Captured:
    web = await mesh.echo("web")
    raw = await mesh.serve_raw("raw", talk)
    outbound = Address(ip="0.0.0.0", port=15001)
    view = sidecar(mesh, host, {"web": (web.socket,)}, capture=Capture.TRANSPARENT, outbound=outbound)
    prefix = ("env", f"PATH={SEARCH}", "unshare", "-Urn", "bash", "-c", CAPTURE, "capture")
    pid = await mesh.proxy(NODE, with_tcp(view, raw), ("", 0), prefix)
    made = Captured(mesh, pid)
    await until(made.ready)
    return made


async def test_captured_connections_find_their_way(envoy_binary: Path) -> None:
    async with rig(envoy_binary) as mesh:
        inside = await captured(mesh)
        answer, _ = await inside.say("240.0.0.7", 8080, r"GET /x HTTP/1.1\r\nHost: web:8080\r\n\r\n", "}")
        assert answer.startswith("HTTP/1.1 200"), answer
        answer, waited = await inside.say("248.0.0.9", 6379)
        assert (answer, waited < 0.9) == ("220 ready\n", True), "an opaque address is never sniffed"
        answer, waited = await inside.say("240.0.0.9", 3306)
        assert (answer, waited < 0.9) == ("220 ready\n", True), "nor is a port whose servers speak first"
        answer, waited = await inside.say("240.0.0.9", 7777)
        assert (answer, waited >= 0.9) == ("220 ready\n", True), "elsewhere the caller has a second to begin"
        answer, waited = await inside.say("240.0.0.9", 7777, r"*1\r\n$4\r\nPING\r\n", "PING")
        assert (answer[:10], waited < 0.9) == ("220 ready\n", True), "what is not HTTP goes by its address"
        answer, _ = await inside.say("240.0.0.9", 443, r"\x16\x03\x01\x02\x00\x01\x00", "echo")
        assert answer.startswith("220 ready"), "so does TLS"
        answer, _ = await inside.say("248.0.0.9", 80, r"GET / HTTP/1.1\r\n\r\n", "echo:GET")
        assert "echo:GET" in answer, "an opaque service may even be sent HTTP"


async def test_an_address_that_nobody_has_is_closed_at_once_every_time(envoy_binary: Path) -> None:
    async with rig(envoy_binary) as mesh:
        inside = await captured(mesh)
        for _ in range(3):
            began = time.monotonic()
            answer, waited = await inside.say("251.0.0.9", 80, "x", "never")
            assert answer in ("", "(ConnectionResetError)")
            assert waited < 1.5, time.monotonic() - began
