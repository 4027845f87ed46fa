"""One Envoy's files and its command line; its life is in tests/envoy/test_agent.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from weft.agent import proxy as proxy_
from weft.agent.proxy import Proxy, UpgradeError
from weft.paths import Paths

if TYPE_CHECKING:
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
