"""Virtual hosts and clusters on demand over the real stream, with the real Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.envoy.harness import exchange
from tests.envoy.xds_rig import NODE, cluster, host, plane
from weft.model.view import Demand
from weft.xds.protocol import CLUSTER, VIRTUAL_HOST, Limits

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_cold_request_fetches_its_virtual_host_and_its_cluster_and_nothing_else(envoy_binary: Path) -> None:
    async with plane(envoy_binary) as control:
        app = control.directory / "app"
        control.clusters = {name: lambda name=name: cluster(name, app) for name in ("x", "y")}  # type: ignore[misc]  # bound now
        control.hosts = {"a": host("a", "x"), "b": host("b", "y")}
        async with control.serving():
            await control.listening()
            assert control.held(CLUSTER) == []
            assert (await exchange(control.out, "a")).status == 200
            await control.settled()
            assert (control.held(CLUSTER), control.held(VIRTUAL_HOST)) == (["x"], ["a"])
            assert control.fleet.demand(NODE) == Demand(hosts=frozenset({"a"}), clusters=frozenset({"x"}))


async def test_a_name_that_does_not_exist_is_answered_at_once_and_when_it_comes_to_exist(envoy_binary: Path) -> None:
    async with plane(envoy_binary) as control:
        control.pushed = [cluster("x", control.directory / "app")]
        async with control.serving():
            await control.listening()
            assert (await exchange(control.out, "a")).status == 404
            assert (await exchange(control.out, "a")).status == 404
            control.hosts = {"a": host("a", "x")}
            control.offer()
            await control.settled()
            assert (await exchange(control.out, "a")).status == 200


async def test_a_virtual_host_that_goes_away_does_not_let_requests_hang(envoy_binary: Path) -> None:
    async with plane(envoy_binary) as control:
        control.pushed = [cluster("x", control.directory / "app")]
        control.hosts = {"a": host("a", "x")}
        async with control.serving():
            await control.listening()
            assert (await exchange(control.out, "a")).status == 200
            control.hosts = {}
            control.offer()
            await control.settled()
            assert (await exchange(control.out, "a")).status == 404


async def test_a_cluster_that_does_not_exist_is_answered_at_once(envoy_binary: Path) -> None:
    async with plane(envoy_binary) as control:
        control.hosts = {"a": host("a", "ghost")}
        async with control.serving():
            await control.listening()
            assert (await exchange(control.out, "a")).status == 503


async def test_hosts_over_the_limit_are_answered_and_those_within_are_served(envoy_binary: Path) -> None:
    async with plane(envoy_binary) as control:
        control.limits = Limits(names=2)
        control.pushed = [cluster("x", control.directory / "app")]
        control.hosts = {name: host(name, "x") for name in "abc"}
        async with control.serving():
            await control.listening()
            assert [(await exchange(control.out, name)).status for name in "abca"] == [200, 200, 404, 200]
            assert control.fleet.counts["names_refused"] == 1
