"""What Envoy refuses does not take the good with it, and it is known what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.envoy.harness import exchange
from tests.envoy.xds_rig import NODE, cluster, eds_cluster, endpoints, host, plane
from weft.xds.protocol import CLUSTER, ENDPOINTS, VIRTUAL_HOST
from weft.xds.status import SyncState

if TYPE_CHECKING:
    from pathlib import Path

    from weft.xds.fleet import Fleet
    from weft.xds.protocol import Refusal

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def refusals(fleet: Fleet, type_url: str) -> list[Refusal]:
    status = fleet.status_of(NODE)
    assert status is not None
    return [refusal for one in status.types if one.type_url == type_url for refusal in one.refusals]


async def test_a_broken_constraint_refuses_its_own_cluster_only(envoy_binary: Path) -> None:
    async with plane(envoy_binary) as control:
        app = control.directory / "app"
        broken = cluster("c3", app, connect_timeout="0s")
        control.pushed = [*(cluster(f"c{number}", app) for number in (0, 1, 2, 4, 5, 6)), broken]
        async with control.serving():
            await control.connected()
            await control.listening()
            await control.settled()
            assert control.held(CLUSTER) == ["c0", "c1", "c2", "c4", "c5", "c6"]
            [refusal] = refusals(control.fleet, CLUSTER)
            assert (refusal.name, refusal.version, refusal.source) == ("c3", broken.version, "Test/c3")
            assert "greater than" in refusal.detail


async def test_a_semantic_error_refuses_its_own_cluster_only_and_keeps_the_earlier_version(envoy_binary: Path) -> None:
    async with plane(envoy_binary) as control:
        app = control.directory / "app"
        good = [cluster(f"c{number}", app) for number in range(4)]
        control.pushed = good
        async with control.serving():
            await control.listening()
            await control.settled()
            control.pushed = [*good[:2], cluster("c2", app, lb_policy="LOAD_BALANCING_POLICY_CONFIG"), *good[3:]]
            control.pushed.append(cluster("new", app))
            control.offer()
            await control.settled()
            assert [refusal.name for refusal in refusals(control.fleet, CLUSTER)] == ["c2"]
            held = control.fleet.held(NODE)
            assert held is not None
            assert held[CLUSTER] == (*good, control.pushed[-1])
            status = control.fleet.status_of(NODE)
            assert status is not None
            assert status.state is SyncState.REFUSED
            control.pushed = [*good]
            control.offer()
            await control.settled()
            assert refusals(control.fleet, CLUSTER) == []


async def test_one_bad_virtual_host_does_not_disturb_the_others(envoy_binary: Path) -> None:
    async with plane(envoy_binary) as control:
        control.pushed = [cluster("x", control.directory / "app")]
        bad = host("b", "x", safe_regex={"regex": "("})
        control.hosts = {"a": host("a", "x"), "b": bad, "c": host("c", "x")}
        async with control.serving():
            await control.listening()
            assert [(await exchange(control.out, name)).status for name in "abc"] == [200, 404, 200]
            assert [refusal.name for refusal in refusals(control.fleet, VIRTUAL_HOST)] == ["outbound/b"]


async def test_a_changed_eds_cluster_gets_its_unchanged_endpoints_again_and_warms(envoy_binary: Path) -> None:
    async with plane(envoy_binary) as control:
        control.pushed = [eds_cluster("x")]
        control.endpoints = [endpoints("x", control.directory / "app")]
        control.hosts = {"a": host("a", "x")}
        async with control.serving():
            await control.listening()
            assert (await exchange(control.out, "a")).status == 200
            control.pushed = [eds_cluster("x", timeout="2s")]
            control.offer()
            await control.settled()
            assert await control.stat("cluster_manager.warming_clusters") == 0
            assert control.held(ENDPOINTS) == ["x"]
            assert (await exchange(control.out, "a")).status == 200
