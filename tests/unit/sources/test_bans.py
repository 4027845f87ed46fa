from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support.stores import Clock
from weft.sources import bans as stored
from weft.sources.bans import Ban, Bans
from weft.sources.lock import UnusableError

if TYPE_CHECKING:
    from pathlib import Path

A = "spiffe://local/ns/a/sa/a"
B = "spiffe://local/ns/b/sa/b"


async def test_a_ban_survives_a_restart_and_keeps_who_why_and_when(tmp_path: Path) -> None:
    bans = await Bans.open(tmp_path, Clock())
    assert await bans.add([B, A], "why", "root") == (A, B)
    found = await Bans.open(tmp_path, Clock())
    assert found.identities == (A, B)
    assert found.latest.value[0] == Ban(A, "why", "root", "2026-01-01T00:00:00Z")


async def test_a_second_ban_keeps_the_first_reason(tmp_path: Path) -> None:
    bans = await Bans.open(tmp_path, Clock())
    await bans.add([A], "first", "root")
    serial = bans.latest.serial
    assert await bans.add([A], "second", "ann") == ()
    assert bans.latest.value[0].reason == "first"
    assert bans.latest.serial == serial


async def test_a_lifted_ban_is_gone(tmp_path: Path) -> None:
    bans = await Bans.open(tmp_path, Clock())
    await bans.add([A, B], "", "root")
    assert await bans.remove([A, "spiffe://x/y"]) == (A,)
    assert (await Bans.open(tmp_path, Clock())).identities == (B,)


async def test_whoever_waits_hears_of_it(tmp_path: Path) -> None:
    bans = await Bans.open(tmp_path, Clock())
    async with anyio.create_task_group() as group:
        group.start_soon(bans.add, [A], "", "root")
        with anyio.fail_after(10):
            _, value = await bans.latest.newer_than(0)
    assert [ban.spiffe_id for ban in value] == [A]


async def test_what_cannot_be_kept_is_not_banned(tmp_path: Path) -> None:
    bans = await Bans.open(tmp_path / "gone", Clock())
    with pytest.raises(UnusableError):
        await bans.add([A], "", "root")
    assert bans.identities == ()


async def test_a_damaged_list_is_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    await (await Bans.open(tmp_path, Clock())).add([A], "", "root")
    (tmp_path / "bans.json").write_text("[")
    with pytest.raises(UnusableError, match="WFT-1882"):
        await Bans.open(tmp_path, Clock())


async def test_there_is_room_for_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MAX_BANS", 2)
    bans = await Bans.open(tmp_path, Clock())
    await bans.add([A], "", "root")
    assert bans.room(1)
    assert not bans.room(2)
