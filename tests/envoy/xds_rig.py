"""The delta stream against the real Envoy with resources written by hand, so that nothing but the stream is tested.

``Plane`` is a control plane without a pipeline: a test changes ``world`` and calls ``offer``. It can be taken away and
brought back, as after a crash: then its fleet is a new one that knows nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from tests.envoy.harness import PATIENCE, Echo, exchange
from tests.support.delta import resource, resources
from weft.envoy import api
from weft.envoy.protos.envoy.config.cluster import v3 as cluster_v3
from weft.envoy.protos.envoy.config.endpoint import v3 as endpoint_v3
from weft.envoy.protos.envoy.config.listener import v3 as listener_v3
from weft.envoy.protos.envoy.config.route import v3 as route_v3
from weft.names import parse_virtual_host, virtual_host
from weft.xds.fleet import Fleet
from weft.xds.protocol import CLUSTER, ENDPOINTS, LISTENER, ROUTES, VIRTUAL_HOST, Limits, Resource
from weft.xds.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from weft.model.view import Demand

NODE = "sidecar/default/a"
ADS = {"ads": {}, "resource_api_version": "V3"}
EXTENSIONS = "type.googleapis.com/envoy.extensions"
KEEPALIVE = {"interval": "1s", "timeout": "1s"}


def endpoint(path: Path) -> dict[str, Any]:
    return {"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(path)}}}}]}


def cluster(name: str, path: Path, **changes: Any) -> Resource:  # noqa: ANN401 - fields of Cluster
    fields = {"name": name, "type": "STATIC", "connect_timeout": "1s"}
    fields["load_assignment"] = {"cluster_name": name, "endpoints": [endpoint(path)]}  # type: ignore[assignment]  # JSON
    return made(CLUSTER, name, api.from_json(cluster_v3.Cluster, {**fields, **changes}))


def eds_cluster(name: str, timeout: str = "1s") -> Resource:
    fields = {"name": name, "type": "EDS", "connect_timeout": timeout, "eds_cluster_config": {"eds_config": ADS}}
    return made(CLUSTER, name, api.from_json(cluster_v3.Cluster, fields))


def endpoints(name: str, path: Path) -> Resource:
    fields = {"cluster_name": name, "endpoints": [endpoint(path)]}
    return made(ENDPOINTS, name, api.from_json(endpoint_v3.ClusterLoadAssignment, fields))


def listener(path: Path) -> Resource:
    """An HTTP listener whose route configuration is ``outbound``, with clusters on demand."""
    odcds = {"@type": f"{EXTENSIONS}.filters.http.on_demand.v3.OnDemand", "odcds": {"source": ADS, "timeout": "5s"}}
    router = {"@type": f"{EXTENSIONS}.filters.http.router.v3.Router"}
    manager = {
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "out",
        "rds": {"route_config_name": "outbound", "config_source": ADS},
        "http_filters": [{"name": "on_demand", "typed_config": odcds}, {"name": "router", "typed_config": router}],
    }
    fields = {
        "name": "outbound",
        "address": {"pipe": {"path": str(path)}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return made(LISTENER, "outbound", api.from_json(listener_v3.Listener, fields))


def routes() -> Resource:
    """The route configuration ``outbound``, whose virtual hosts are asked for on demand."""
    fields = {"name": "outbound", "vhds": {"config_source": {**ADS, "initial_fetch_timeout": "0.005s"}}}
    return made(ROUTES, "outbound", api.from_json(route_v3.RouteConfiguration, fields))


def host(name: str, to: str, **match: Any) -> Resource:  # noqa: ANN401 - fields of RouteMatch
    """A virtual host that leads to the cluster ``to``."""
    fields = {
        "name": virtual_host(name),
        "domains": [name],
        "routes": [{"match": match or {"prefix": "/"}, "route": {"cluster": to}}],
    }
    return made(VIRTUAL_HOST, virtual_host(name), api.from_json(route_v3.VirtualHost, fields))


def made(type_url: str, name: str, message: Any) -> Resource:  # noqa: ANN401 - any of Envoy's messages
    return resource(type_url, name, api.serialize(message), source=f"Test/{name}")


def boot(directory: Path) -> dict[str, Any]:
    http2 = {"explicit_http_config": {"http2_protocol_options": {"connection_keepalive": KEEPALIVE}}}
    options = f"{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions"
    control = {
        "name": "control",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "control", "endpoints": [endpoint(directory / "xds")]},
        "typed_extension_protocol_options": {options.partition("/")[2]: {"@type": options, **http2}},
    }
    service = {"envoy_grpc": {"cluster_name": "control"}}
    ads = {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": [service]}
    return {
        "node": {"id": NODE, "cluster": "test"},
        "admin": {"address": {"pipe": {"path": str(directory / "admin")}}},
        "dynamic_resources": {"ads_config": ads, "cds_config": ADS, "lds_config": ADS},
        "static_resources": {"clusters": [_keyed(control)]},
    }


def _keyed(control: dict[str, Any]) -> dict[str, Any]:
    [(_, value)] = control["typed_extension_protocol_options"].items()
    key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {**control, "typed_extension_protocol_options": {key: value}}


async def until(condition: Callable[[], Awaitable[bool]], within: float = PATIENCE) -> None:
    """Wait for something that another process does."""
    with anyio.fail_after(within):
        while not await condition():  # noqa: ASYNC110 - no event comes from there
            await anyio.sleep(0.01)


class Plane:
    """The world as it should be; ``offer`` says it to the proxy for what it asks for now."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.out = directory / "out"
        self.fleet = Fleet(time.monotonic)
        self.limits = Limits()
        self.clusters: dict[str, Callable[[], Resource]] = {}
        """On demand, by name."""
        self.pushed: list[Resource] = []
        self.endpoints: list[Resource] = []
        self.hosts: dict[str, Resource] = {}
        self.revision = 0
        self.silent = False

    def offer(self) -> None:
        demand = self.fleet.demand(NODE)
        if demand is not None and not self.silent:
            self._offer(demand)

    def _offer(self, demand: Demand) -> None:
        self.revision += 1
        asked = [make() for name, make in self.clusters.items() if name in demand.clusters]
        self.fleet.offer(
            NODE,
            resources(
                (CLUSTER, [*self.pushed, *asked]),
                (ENDPOINTS, self.endpoints),
                (LISTENER, [listener(self.out)]),
                (ROUTES, [routes()]),
                (VIRTUAL_HOST, [one for name, one in self.hosts.items() if name in demand.hosts]),
            ),
            demand,
            self.revision,
        )

    async def settled(self) -> None:
        with anyio.fail_after(PATIENCE):
            await self.fleet.settled(self.revision)

    async def _control(self) -> None:
        serial = 0
        while True:
            self.offer()
            serial, _ = await self.fleet.demands.newer_than(serial)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve with a fleet that knows nothing; leaving takes the control plane away."""
        self.fleet = Fleet(time.monotonic, self.limits)
        async with anyio.create_task_group() as tasks:
            await tasks.start(serve, self.fleet, self.directory / "xds")
            tasks.start_soon(self._control)
            yield
            tasks.cancel_scope.cancel()

    async def connected(self) -> None:
        with anyio.fail_after(PATIENCE):
            while not self.fleet.nodes():
                await self.fleet.demands.newer_than(self.fleet.demands.serial)

    def held(self, type_url: str) -> list[str]:
        return [parse_virtual_host(one.name)[1] or one.name for one in (self.fleet.held(NODE) or {}).get(type_url, ())]

    async def stat(self, name: str) -> int:
        answer = await exchange(self.directory / "admin", "admin", f"/stats?filter=^{name}$")
        return int(answer.body.decode().rpartition(":")[2])

    async def listening(self) -> None:
        await until(self._listens)

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(str(self.out))
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True


@asynccontextmanager
async def plane(envoy: Path) -> AsyncIterator[Plane]:
    """A plane, an application at ``app``, and an Envoy that looks for the plane."""
    directory = Path(tempfile.mkdtemp(prefix="weft-"))
    app = Echo("app", directory / "app")
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        await app(reader, writer)
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(talk, str(app.socket))
    (directory / "boot.json").write_text(json.dumps(boot(directory)))
    command = [str(envoy), "-c", str(directory / "boot.json"), "--use-dynamic-base-id", "-l", "warning"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--concurrency", "1"], stdout=log, stderr=log)  # noqa: ASYNC220 - at once
    try:
        yield Plane(directory)
    finally:
        process.kill()
        process.wait()
        server.close()
        # Nothing may be left for the garbage collector to complain about in a later test.
        with anyio.fail_after(PATIENCE):
            await asyncio.gather(*talks)
        shutil.rmtree(directory, ignore_errors=True)
