"""The door's Envoy among the agent's processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest

from weft.agent import door
from weft.agent.settings import Settings
from weft.paths import Paths, prepare

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(paths=Paths(tmp_path / "s", tmp_path / "r"), host="anna", address="10.0.0.1")
    assert prepare(made.paths) == ()
    return made


async def test_it_listens_at_the_hosts_address(settings: Settings) -> None:
    [listener] = json.loads(door.render(settings))["static_resources"]["listeners"]
    assert listener["address"]["socket_address"] == {"address": "10.0.0.1", "port_value": 15012}


async def test_it_waits_for_what_control_writes(settings: Settings) -> None:
    made = door.proxy(settings, settings.paths.state / "envoy")
    begun = anyio.Event()

    async def wait() -> None:
        await made._secrets(made.node)
        begun.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not begun.is_set()
        settings.paths.door.mkdir()
        for name in door.FILES:
            (settings.paths.door / name).touch()
        with anyio.fail_after(10):
            await begun.wait()


async def test_a_door_that_listens_elsewhere_is_not_adopted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = door.proxy(settings, settings.paths.state / "envoy")
    adopted: list[bool] = []
    monkeypatch.setattr(made.child, "adopt", lambda: adopted.append(True))
    door.adopt(made, settings)
    made.make_directories()
    before = settings.paths.proxy(made.node) / "bootstrap-0.json"
    before.write_bytes(b"{}")
    door.adopt(made, settings)
    assert adopted == []
    before.write_bytes(door.render(settings))
    door.adopt(made, settings)
    assert adopted == [True]
