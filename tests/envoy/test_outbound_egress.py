"""The way out, with the real Envoy: from a proxy without a network through the egress proxy's socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.envoy.harness import PATIENCE, Echo, Rig, exchange, rig
from weft.model.mesh import OutboundTraffic
from weft.model.route import Backend, Rule, VirtualHost
from weft.model.service import Address, Capture, ExternalAddress, Placement, Protocol
from weft.model.view import BoundRoute, Demand, Upstream, View
from weft.names import OutboundCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.envoy
CALLER, EGRESS = "sidecar/default/caller", "egress/default/host"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 ready\n")
    while data := await reader.read(4096):
        writer.write(b"echo:" + data)
    writer.close()


def host(name: str, cluster: OutboundCluster) -> VirtualHost:
    """What a name means: the external service of ``api.example``, and for others the way out."""
    if name.startswith(("api.example", "db.example")):
        return VirtualHost(domain=name, rules=(Rule(source="Service/default/api", backends=(Backend(cluster),)),))
    return VirtualHost(domain=name, passthrough=True)


@asynccontextmanager
async def outside(envoy: Path) -> AsyncIterator[tuple[Rig, int]]:
    """A caller and an egress proxy, and outside an application and a server that speaks first."""
    async with rig(envoy) as mesh:
        app = Echo("outside", mesh.directory / "unused")
        web = await asyncio.start_server(app, "127.0.0.1", 0)
        raw = await asyncio.start_server(talk, "127.0.0.1", 0)
        web_port, raw_port = (server.sockets[0].getsockname()[1] for server in (web, raw))
        api, db = OutboundCluster(80, "api.example"), OutboundCluster(5432, "db.example")
        out, way, bound = mesh.directory / "out", mesh.directory / "egress", mesh.directory / "bound"

        def direct(cluster: OutboundCluster, protocol: Protocol, port: int, tunnel: str = "", ip: str = "") -> Upstream:
            where = (ExternalAddress(ip or cluster.host, port),)
            return Upstream(name=str(cluster), protocol=protocol, source="", dns=where, tunnel=tunnel)

        def egress(demand: Demand) -> View:
            return View(
                node=EGRESS,
                placement=Placement.EGRESS,
                namespace="default",
                name="host",
                capture=Capture.NONE,
                outbound=Address(path=str(way)),
                outbound_traffic=OutboundTraffic.ALLOW_ANY,
                hosts=tuple(host(name, db if name.startswith("db") else api) for name in sorted(demand.hosts)),
                upstreams=(
                    direct(api, Protocol.HTTP, web_port, ip="127.0.0.1"),
                    direct(db, Protocol.TCP, raw_port, ip="127.0.0.1"),
                ),
            )

        def caller(demand: Demand) -> View:
            return View(
                node=CALLER,
                placement=Placement.SIDECAR,
                namespace="default",
                name="caller",
                capture=Capture.PROXY,
                outbound=Address(path=str(out)),
                egress=Address(path=str(way)),
                outbound_traffic=OutboundTraffic.ALLOW_ANY,
                hosts=tuple(host(name, api) for name in sorted(demand.hosts)),
                upstreams=(
                    direct(api, Protocol.HTTP, 80, tunnel=str(way)),
                    direct(db, Protocol.TCP, 5432, tunnel=str(way)),
                ),
                bound=(
                    BoundRoute(
                        listen=Address(path=str(bound)), service="db", port=5432, protocol=Protocol.TCP, cluster=str(db)
                    ),
                ),
            )

        await mesh.proxy(EGRESS, egress, way)
        await mesh.proxy(CALLER, caller, out)
        try:
            yield mesh, web_port
        finally:
            web.close()
            raw.close()


async def test_an_external_service_is_reached_by_its_name(envoy_binary: Path) -> None:
    async with outside(envoy_binary) as (mesh, _):
        seen = (await exchange(mesh.directory / "out", "api.example", "/x")).seen
        assert (seen["app"], seen["path"], seen["headers"]["host"]) == ("outside", "/x", "api.example")
        assert {name: demand.hosts for name, demand in mesh.demands.items()} == {
            CALLER: {"api.example"},
            EGRESS: {"api.example:80"},
        }


async def test_any_other_name_goes_out_too_where_that_is_allowed(envoy_binary: Path) -> None:
    async with outside(envoy_binary) as (mesh, port):
        answer = await exchange(mesh.directory / "out", f"localhost:{port}", "/any")
        assert answer.status == 200, (answer, mesh.log(EGRESS), mesh.fleet.status_of(EGRESS))
        assert answer.seen["path"] == "/any"


async def test_bytes_are_tunnelled_to_where_they_were_going(envoy_binary: Path) -> None:
    async with outside(envoy_binary) as (mesh, _):
        reader, writer = await asyncio.open_unix_connection(str(mesh.directory / "bound"))
        async with asyncio.timeout(PATIENCE):
            assert await reader.readline() == b"220 ready\n", mesh.log(EGRESS)
            writer.write(b"select\n")
            assert await reader.readline() == b"echo:select\n"
        writer.close()
        assert "db.example:5432" in mesh.demands[EGRESS].hosts
