"""What a proxy would be sent, as one static configuration: the real Envoy says whether it would accept all of it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import certifi

from weft.envoy import api
from weft.envoy.bootstrap import BootstrapInput, bootstrap
from weft.envoy.protos.envoy.config.bootstrap import v3 as bootstrap_
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.extensions.filters.http.router import v3 as router
from weft.envoy.protos.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from weft.envoy.protos.envoy.service.discovery import v3 as discovery

if TYPE_CHECKING:
    from pathlib import Path

    from google.protobuf.message import Message

    from weft.envoy.build import Built


def messages(result: Built) -> list[tuple[str, str, Message | None]]:
    """Type, name and content of each resource, in the order in which they are sent."""
    return [
        (url.rpartition(".")[2], name, api.unpack(discovery.Resource.FromString(item.wire).resource))
        for url, named in result.resources.types.items()
        for name, item in named.items()
    ]


def refusal(envoy: Path, result: Built, directory: Path) -> str:
    """Why Envoy refuses what was built for one proxy; empty when it accepts all of it."""
    given = BootstrapInput(node="n", admin="/a", control="/c", fallback="/f", secrets="/s", roots=certifi.where())
    whole = api.from_json(bootstrap_.Bootstrap, json.loads(bootstrap(given)))
    for _, name, message in messages(result):
        match message:
            case cluster.Cluster():
                whole.static_resources.clusters.append(message)
            case listener.Listener():
                whole.static_resources.listeners.append(message)
            case route.VirtualHost():
                inline = route.RouteConfiguration(name=name, virtual_hosts=[message])
                whole.static_resources.listeners.append(_around(inline))
            case route.RouteConfiguration() if message.virtual_hosts:
                whole.static_resources.listeners.append(_around(message))
            case core.TypedExtensionConfig():
                whole.static_resources.listeners.append(_asking(message))
            case _:
                pass
    config = directory / "bootstrap.pb"
    config.write_bytes(api.serialize(whole))
    done = subprocess.run(
        [envoy, "--mode", "validate", "-c", config], capture_output=True, text=True, timeout=60, check=False
    )
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def _asking(extension: core.TypedExtensionConfig) -> listener.Listener:
    """A listener for a filter's configuration that would else arrive apart from it."""
    inline = route.RouteConfiguration(name=extension.name)
    return _around(inline, hcm.HttpFilter(name=extension.name, typed_config=extension.typed_config))


def _around(routes: route.RouteConfiguration, *filters: hcm.HttpFilter) -> listener.Listener:
    """A listener for routes that Envoy would else only read when they arrive."""
    manager = hcm.HttpConnectionManager(
        stat_prefix="static",
        route_config=routes,
        http_filters=[*filters, hcm.HttpFilter(name="router", typed_config=api.pack(router.Router()))],
        upgrade_configs=[hcm.HttpConnectionManager.UpgradeConfig(upgrade_type="CONNECT")],
    )
    chain = [listener.Filter(name="envoy.filters.network.http_connection_manager", typed_config=api.pack(manager))]
    return listener.Listener(
        name=f"static-{routes.name}",
        address=core.Address(pipe=core.Pipe(path=f"/static/{routes.name}"[:100])),
        filter_chains=[listener.FilterChain(filters=chain)],
    )
