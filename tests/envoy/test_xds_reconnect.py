"""The control plane goes away, hangs, or comes back knowing nothing: the real Envoy does not notice in its traffic."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio.lowlevel
import pytest

from tests.envoy.harness import exchange
from tests.envoy.xds_rig import NODE, cluster, eds_cluster, endpoints, host, plane, until
from weft.xds.protocol import CLUSTER, SEND_ORDER, VIRTUAL_HOST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.envoy.xds_rig import Plane

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def furnish(control: Plane) -> None:
    app = control.directory / "app"
    control.pushed = [cluster("pushed", app), eds_cluster("eds")]
    control.endpoints = [endpoints("eds", app)]
    control.clusters = {"x": lambda: cluster("x", app)}
    control.hosts = {"a": host("a", "x"), "b": host("b", "eds")}


def _holds(control: Plane, type_url: str, names: list[str]) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return control.held(type_url) == names

    return check


def _connected(control: Plane, wanted: int) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return await control.stat("control_plane.connected_state") == wanted

    return check


async def test_nothing_is_sent_again_however_often_the_control_plane_restarts(envoy_binary: Path) -> None:
    async with plane(envoy_binary) as control:
        furnish(control)
        async with control.serving():
            await control.listening()
            assert [(await exchange(control.out, name)).status for name in "ab"] == [200, 200]
            await control.settled()
            before = {type_url: control.held(type_url) for type_url in SEND_ORDER}
        for _ in range(3):
            assert (await exchange(control.out, "a")).status == 200
            async with control.serving():
                await control.connected()
                for type_url in SEND_ORDER:
                    await until(_holds(control, type_url, before[type_url]))
                await control.settled()
                assert control.fleet.counts["acknowledged"] == 0
                assert (control.held(CLUSTER), control.held(VIRTUAL_HOST)) == (["eds", "pushed", "x"], ["a", "b"])
                assert [(await exchange(control.out, name)).status for name in "ab"] == [200, 200]


async def test_what_changed_while_the_control_plane_was_away_is_all_that_is_sent(envoy_binary: Path) -> None:
    async with plane(envoy_binary) as control:
        furnish(control)
        async with control.serving():
            await control.listening()
            await exchange(control.out, "a")
            await control.settled()
        control.pushed = [eds_cluster("eds")]
        async with control.serving():
            await control.connected()
            await control.settled()
            await until(_holds(control, CLUSTER, ["eds", "x"]))
            assert control.fleet.counts["acknowledged"] == 1


async def test_a_control_plane_without_synced_sources_removes_nothing(envoy_binary: Path) -> None:
    async with plane(envoy_binary) as control:
        furnish(control)
        async with control.serving():
            await control.listening()
            assert (await exchange(control.out, "a")).status == 200
            await control.settled()
        control.silent = True
        async with control.serving():
            await control.connected()
            await until(_holds(control, VIRTUAL_HOST, ["a"]))
            assert (await exchange(control.out, "a")).status == 200
            assert control.fleet.counts["acknowledged"] == 0
            assert await control.stat("cluster_manager.cluster_removed") == 0


async def test_a_control_plane_that_hangs_is_noticed_and_found_again(envoy_binary: Path) -> None:
    async with plane(envoy_binary) as control:
        command = [sys.executable, "-m", "tests.envoy.xds_control", str(control.directory)]
        process = subprocess.Popen(command)  # noqa: ASYNC220 - a process of its own, to be stopped
        try:
            await control.listening()
            assert (await exchange(control.out, "a")).status == 200
            process.send_signal(signal.SIGSTOP)
            await until(_connected(control, 0), within=10)
            assert (await exchange(control.out, "a")).status == 200
            process.send_signal(signal.SIGCONT)
            await until(_connected(control, 1), within=10)
            assert await control.stat("cluster_manager.cluster_removed") == 0
        finally:
            process.kill()
            process.wait()


async def test_a_burst_of_changes_ends_in_the_newest_state(envoy_binary: Path) -> None:
    async with plane(envoy_binary) as control:
        furnish(control)
        async with control.serving():
            await control.listening()
            for number in range(1, 60):
                control.pushed = [cluster("pushed", control.directory / "app", connect_timeout=f"{number}s")]
                control.offer()
                await anyio.lowlevel.checkpoint()
            await control.settled()
            held = control.fleet.held(NODE)
            assert held is not None
            assert held[CLUSTER] == tuple(control.pushed)
