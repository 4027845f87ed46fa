"""Golden views: what is built from each stands in a file, and the real Envoy accepts all of it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import certifi
import msgspec
import pytest
import yaml

from tests.support.golden import Golden, cases
from weft.envoy import api
from weft.envoy.bootstrap import BootstrapInput, bootstrap
from weft.envoy.build import Built, build
from weft.envoy.protos.envoy.config.bootstrap import v3 as bootstrap_
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.extensions.filters.http.router import v3 as router
from weft.envoy.protos.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.memo import Memo
from weft.model.view import View

if TYPE_CHECKING:
    from pathlib import Path

    from google.protobuf.message import Message

pytestmark = pytest.mark.envoy
VIEWS = [case for case in cases() if case.startswith("view-")]


def built(golden: Golden, case: str) -> Built:
    return build(msgspec.convert(yaml.safe_load(golden.input(case)), View), Memo())


def messages(result: Built) -> list[tuple[str, str, Message | None]]:
    """Type, name and content of each resource, in the order in which they are sent."""
    return [
        (url.rpartition(".")[2], name, api.unpack(discovery.Resource.FromString(item.wire).resource))
        for url, named in result.resources.types.items()
        for name, item in named.items()
    ]


@pytest.mark.parametrize("case", VIEWS)
def test_a_view_builds_what_its_golden_file_says(golden: Golden, case: str) -> None:
    result = built(golden, case)
    shown = [
        {"type": kind, "name": name, "resource": api.to_json(message) if message else None}
        for kind, name, message in messages(result)
    ]
    golden.check(case, "resources.json", json.dumps(shown, indent=1, sort_keys=True) + "\n")
    golden.check(case, "problems.txt", "".join(f"{problem}\n" for problem in result.problems))


@pytest.mark.parametrize("case", VIEWS)
def test_envoy_accepts_what_a_golden_view_builds(golden: Golden, case: str, envoy_binary: Path, tmp_path: Path) -> None:
    given = BootstrapInput(node="n", admin="/a", control="/c", fallback="/f", roots=certifi.where())
    whole = api.from_json(bootstrap_.Bootstrap, json.loads(bootstrap(given)))
    for _, name, message in messages(built(golden, case)):
        match message:
            case cluster.Cluster():
                whole.static_resources.clusters.append(message)
            case listener.Listener():
                whole.static_resources.listeners.append(message)
            case route.VirtualHost():
                inline = route.RouteConfiguration(name=name, virtual_hosts=[message])
                whole.static_resources.listeners.append(around(inline))
            case route.RouteConfiguration() if message.virtual_hosts:
                whole.static_resources.listeners.append(around(message))
            case _:
                pass
    config = tmp_path / "bootstrap.json"
    config.write_text(json.dumps(api.to_json(whole)))
    done = subprocess.run(
        [envoy_binary, "--mode", "validate", "-c", config], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def around(routes: route.RouteConfiguration) -> listener.Listener:
    """A listener for routes that Envoy would else only read when they arrive."""
    manager = hcm.HttpConnectionManager(
        stat_prefix="golden",
        route_config=routes,
        http_filters=[hcm.HttpFilter(name="router", typed_config=api.pack(router.Router()))],
        upgrade_configs=[hcm.HttpConnectionManager.UpgradeConfig(upgrade_type="CONNECT")],
    )
    filters = [listener.Filter(name="envoy.filters.network.http_connection_manager", typed_config=api.pack(manager))]
    return listener.Listener(
        name=f"golden-{routes.name}",
        address=core.Address(pipe=core.Pipe(path=f"/golden/{routes.name}")),
        filter_chains=[listener.FilterChain(filters=filters)],
    )
