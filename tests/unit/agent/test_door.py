"""The door's Envoy among the agent's processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest

from weft.agent import door
from weft.agent.proxy import UpgradeError
from weft.agent.settings import Settings
from weft.agent.svids import Snapshot
from weft.identity.wire import Bundle, TrustLine
from weft.latest import Latest
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


class _Door:
    """Counts how often another one takes over; the first time it cannot."""

    def __init__(self) -> None:
        self.upgrades = 0

    async def upgrade(self) -> None:
        self.upgrades += 1
        if self.upgrades == 1:
            raise UpgradeError("not running")


async def test_when_an_authority_is_revoked_another_one_takes_over() -> None:
    def holding(*roots: bytes) -> Snapshot:
        return Snapshot(trust=TrustLine("local", 1, "a", (), (), (Bundle("local", 1, 300, roots, ()),)))

    made, held = _Door(), Latest(Snapshot())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(door.follow, made, held)  # type: ignore[arg-type]  # as much of a proxy as is needed
        for state, wanted in (
            (holding(b"old"), 0),
            (holding(b"old", b"new"), 0),
            (Snapshot(), 0),
            (holding(b"new"), 1),
            (holding(b"new"), 1),
            (holding(b"new", b"newer"), 1),
            (holding(b"newer"), 2),
        ):
            held.set(state)
            await anyio.wait_all_tasks_blocked()
            assert made.upgrades == wanted
        tasks.cancel_scope.cancel()
