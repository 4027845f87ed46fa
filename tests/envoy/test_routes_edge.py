"""Edges and inbound listeners, with the real Envoy: a stranger's request through a gateway and a sidecar to an app."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.envoy.harness import PATIENCE, Echo, Rig, assignments, exchange, rig, service, until
from weft.model.mesh import GatewayPort
from weft.model.route import Backend, Match, MatchKind, Rule, StringMatch, VirtualHost
from weft.model.service import Address, Capture, Placement, Protocol, WorkloadPort
from weft.model.view import BoundRoute, EdgePort, Upstream, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.envoy
GATEWAY, SIDECAR = "gateway/default/edge", "sidecar/default/web"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def hosts(*backends: Backend) -> tuple[VirtualHost, ...]:
    everything = Rule(source="HTTPRoute/default/web/rules/0", backends=backends or (Backend(service("web")),))
    admin = Rule(source="HTTPRoute/default/web/rules/1", matches=(Match(path=StringMatch(MatchKind.PREFIX, "/admin")),))
    return (
        VirtualHost(domain="shop.example", rules=(admin, everything), source="Gateway/default/edge"),
        VirtualHost(domain="*.wild.example", rules=(everything,)),
    )


def upstreams(*names: str) -> tuple[Upstream, ...]:
    return tuple(Upstream(name=str(service(name)), protocol=Protocol.HTTP, source="") for name in names)


@asynccontextmanager
async def edge(envoy: Path) -> AsyncIterator[tuple[Rig, Echo]]:
    """An edge proxy, and behind it a sidecar with its application."""
    async with rig(envoy) as mesh:
        app = await mesh.echo("web")
        inbound, door = mesh.directory / "in", mesh.directory / "edge"
        port = WorkloadPort(
            number=9080,
            name="http",
            protocol=Protocol.HTTP,
            listen=Address(path=str(inbound)),
            application=Address(path=str(app.socket)),
        )
        beside = View(
            node=SIDECAR,
            placement=Placement.SIDECAR,
            namespace="default",
            name="web",
            capture=Capture.NONE,
            inbound=(port,),
        )
        await mesh.proxy(SIDECAR, lambda _: beside, inbound)
        at = Address(path=str(door))
        view = View(
            node=GATEWAY,
            placement=Placement.GATEWAY,
            namespace="default",
            name="edge",
            capture=Capture.NONE,
            edge=(EdgePort(listen=at, port=GatewayPort(number=80, protocol=Protocol.HTTP, hosts=hosts())),),
            upstreams=upstreams("web"),
            assignments=tuple(assignments([str(service("web"))], {"web": (inbound,)})),
        )
        await mesh.proxy(GATEWAY, lambda _: view, door)

        async def ready() -> bool:
            return (await exchange(door, "shop.example", "/ready")).status == 200

        await until(ready)
        app.seen.clear()
        yield mesh, app


async def test_hosts_are_compared_without_case_port_or_final_dot(envoy_binary: Path) -> None:
    async with edge(envoy_binary) as (mesh, _):
        door = mesh.directory / "edge"
        for host in ("shop.example", "SHOP.example", "shop.example:8080", "shop.example.", "a.b.wild.example"):
            assert (await exchange(door, host)).status == 200, host
        for host in ("other.example", "wild.example", "shop.example.evil"):
            assert (await exchange(door, host)).status == 404, host


async def test_a_path_is_normalised_before_it_is_matched(envoy_binary: Path) -> None:
    async with edge(envoy_binary) as (mesh, app):
        door = mesh.directory / "edge"
        spellings = ("/admin", "/./admin", "//admin", "/x/../admin", "/x/%2e%2e/admin", "/%61dmin", "/x%2f..%2fadmin")
        for spelling in spellings:
            assert (await exchange(door, "shop.example", spelling)).status == 500, spelling
        assert app.seen == {}


async def test_what_a_stranger_says_about_itself_reaches_no_application(envoy_binary: Path) -> None:
    async with edge(envoy_binary) as (mesh, _):
        lies = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            ("x-envoy-external-address", "6.6.6.6"),
            ("x-envoy-upstream-alt-stat-name", "evil"),
            ("x-envoy-retry-on", "5xx"),
            ("x-request-id", "evil"),
            ("x-forwarded-client-cert", "By=evil"),
            ("x-forwarded-proto", "https"),
        ]
        seen = (await exchange(mesh.directory / "edge", "shop.example", headers=lies)).seen["headers"]
        assert [name for name, value in seen.items() if "6.6.6.6" in value or "evil" in value] == []
        assert seen["x-forwarded-proto"] == "http"
        assert [name for name in seen if name.startswith("x-envoy")] == []


async def test_a_request_header_that_never_ends_is_cut_off(envoy_binary: Path) -> None:
    async with edge(envoy_binary) as (mesh, _):
        reader, writer = await asyncio.open_unix_connection(str(mesh.directory / "edge"))
        writer.write(b"GET / HTTP/1.1\r\nHost: shop.example\r\nx-slow: ")
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        assert answer.startswith(b"HTTP/1.1 408")
        writer.close()


async def test_a_websocket_passes_edge_and_sidecar(envoy_binary: Path) -> None:
    async with edge(envoy_binary) as (mesh, app):

        async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nhello")
            writer.write(b"got " + await reader.read(100))
            await writer.drain()
            writer.close()

        app.talk = upgrade
        reader, writer = await asyncio.open_unix_connection(str(mesh.directory / "edge"))
        writer.write(b"GET / HTTP/1.1\r\nHost: shop.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nframe")
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        assert answer.startswith(b"HTTP/1.1 101")
        assert answer.endswith(b"hellogot frame")
        writer.close()


async def test_a_route_to_what_does_not_exist_is_a_problem_and_answers_500(envoy_binary: Path) -> None:
    async with edge(envoy_binary) as (mesh, _):
        before = mesh.views[GATEWAY]
        dangling = GatewayPort(number=80, protocol=Protocol.HTTP, hosts=hosts(Backend(service("gone"))))
        base = before(mesh.demands[GATEWAY])
        changed = View(
            **{name: getattr(base, name) for name in View.__struct_fields__}
            | {"edge": (EdgePort(listen=base.edge[0].listen, port=dangling),)}
        )
        mesh.views[GATEWAY] = lambda _: changed
        mesh.refresh()
        door = mesh.directory / "edge"

        async def refused() -> bool:
            return (await exchange(door, "shop.example")).status == 500

        await until(refused)
        assert {problem.code for problem in mesh.problems[GATEWAY]} == {"WFT-1402"}


async def test_a_bound_address_means_its_service_whatever_the_host_says(envoy_binary: Path) -> None:
    async with rig(envoy_binary) as mesh:
        app = await mesh.echo("web")
        at = mesh.directory / "bound"
        rule = Rule(source="Service/default/web", backends=(Backend(service("web")),))
        bound = BoundRoute(
            listen=Address(path=str(at)),
            service="web",
            port=80,
            protocol=Protocol.HTTP,
            host=VirtualHost(domain="web", rules=(rule,)),
        )
        view = View(
            node=SIDECAR,
            placement=Placement.SIDECAR,
            namespace="default",
            name="web",
            capture=Capture.PORTS,
            bound=(bound,),
            upstreams=upstreams("web"),
            assignments=tuple(assignments([str(service("web"))], {"web": (app.socket,)})),
        )
        await mesh.proxy(SIDECAR, lambda _: view, at)
        for host in ("web", "127.0.0.1:4567", "localhost"):
            assert (await exchange(at, host)).seen["headers"]["host"] == host
