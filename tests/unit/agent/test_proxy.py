"""One Envoy's files, command line and life, with a program that looks like one; the real one: tests/envoy/test_agent.py."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support import fake_envoy
from weft.agent import processes
from weft.agent import proxy as proxy_
from weft.agent.proxy import Proxy, UpgradeError
from weft.paths import Paths, prepare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from weft.agent.processes import Namespace

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def nowhere() -> Namespace | None:
    return None


def made(tmp_path: Path) -> Proxy:
    paths = Paths(state=tmp_path / "state", runtime=tmp_path / "run")
    return Proxy("sidecar/default/a", paths, Path("/bin/envoy"), 1, lambda: b"{}", nowhere)


async def test_each_start_has_a_fresh_base_id_a_private_bootstrap_and_no_parent(tmp_path: Path) -> None:
    one = made(tmp_path)
    launch = await one._prepare()
    assert launch.detached
    assert "--use-dynamic-base-id" in launch.argv
    bootstrap = Path(launch.argv[launch.argv.index("--config-path") + 1])
    assert bootstrap.stat().st_mode & 0o777 == 0o600  # noqa: ASYNC240 - a test
    one.remove_files()
    assert not bootstrap.exists()  # noqa: ASYNC240 - a test
    assert not one.sockets.exists()


async def test_shared_memory_of_an_envoy_that_ended_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_, "SHARED_MEMORY", tmp_path)
    one = made(tmp_path)
    one.make_directories()
    (tmp_path / "envoy_shared_memory_420").touch()
    (tmp_path / "state" / "proxies" / "sidecar.default.a" / "base-id").write_text("42\n")
    one.remove_files()
    assert not (tmp_path / "envoy_shared_memory_420").exists()


async def test_an_absent_envoy_is_not_ready_has_no_requests_and_cannot_be_upgraded(tmp_path: Path) -> None:
    one = made(tmp_path)
    assert not await one.ready()
    assert not await one.wait_ready(0.05)
    assert await one.requests_in_flight() == 0
    await one.drain_listeners(0.1)
    with pytest.raises(UpgradeError, match="is not running"):
        await one.upgrade()


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[Proxy]:
    """A proxy whose Envoy is ``fake_envoy``, started, ready, and stopped afterwards."""
    paths = Paths(state=tmp_path / "s", runtime=tmp_path / "r")
    assert prepare(paths) == ()
    binary, admin = fake_envoy.program(tmp_path), paths.sockets("sidecar/default/a") / "admin.sock"
    one = Proxy("sidecar/default/a", paths, binary, 1, lambda: fake_envoy.bootstrap(admin), nowhere)
    async with anyio.create_task_group() as group:
        group.start_soon(one.child.run)
        assert await one.wait_ready(20)
        yield one
        await one.child.stop(10)


async def test_a_successor_takes_over_and_the_one_before_ends_at_the_latest_when_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_, "PARENT_SECONDS", 0.01)
    async with running(tmp_path) as one:
        for epoch in (1, 2):
            before = one.child.pid
            await one.upgrade()
            assert one.child.pid not in (0, before)
            assert await one._epoch() == ("LIVE", epoch)
            with anyio.fail_after(20):
                while processes.identify(before):  # noqa: ASYNC110 - no event
                    await anyio.sleep(0.01)
        assert one.child.status.value.restarts == 0


async def test_a_successor_that_does_not_come_up_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        before = one.child.pid
        (tmp_path / "stats.refuse").touch()
        with pytest.raises(UpgradeError, match=r"was not ready after 15\.0 s; see "):
            await one.upgrade()
        fake_envoy.program(tmp_path).chmod(0o600)
        with pytest.raises(UpgradeError, match="Permission denied"):
            await one.upgrade()
        assert (one.child.pid, await one._epoch()) == (before, ("LIVE", 0))


async def test_requests_are_those_to_the_application_and_connections_all_but_the_one_that_asks(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        (tmp_path / "stats").write_text("cluster.inbound|80||.upstream_rq_active: 3\ncluster.inbound|81||.x: 4\n")
        assert await one.requests_in_flight() == 7
        (tmp_path / "stats").write_text("http.edge.downstream_cx_active: 2\nhttp.admin.downstream_cx_active: 1\n")
        assert await one._connections() == 2
        await one.drain_listeners(0.01)  # it has connections still, but not for ever
        (tmp_path / "stats").write_text("http.admin.downstream_cx_active: 1\n")
        await one.drain_listeners(20)
