from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support.stores import Clock
from weft.sources import audit as audits
from weft.sources.audit import Audit, Kind, Outcome, clean
from weft.sources.audit_file import listed
from weft.sources.lock import UnusableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def opened(state: Path, clock: Clock | None = None) -> AsyncIterator[Audit]:
    audit = await Audit.open(state, clock or Clock())
    try:
        yield audit
    finally:
        await audit.close()


async def test_a_record_is_on_the_disk_when_it_returns(tmp_path: Path) -> None:
    async with opened(tmp_path) as audit:
        await audit.record(Kind.BAN, "root", "ban shop/pay", Outcome.DONE, where="uid:0", reason="leaked key")
        text = listed(tmp_path / "audit")[0].read_text()
        assert '"who":"root"' in text
        assert '"reason":"leaked key"' in text
        assert '"time":"2026-01-01T00:00:00.000000Z"' in text
        assert (await audit.verify()).problem == ""


async def test_records_of_the_same_moment_share_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0
    real = os.fsync

    def counted(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        real(descriptor)

    async with opened(tmp_path) as audit:
        monkeypatch.setattr(os, "fsync", counted)
        async with anyio.create_task_group() as group:
            for index in range(50):
                group.start_soon(audit.record, Kind.TOKEN, "root", f"token {index}", Outcome.DONE)
        assert audit.head.value == 50
        assert syncs <= 3
        assert len(await audit.entries()) == 50


async def test_equal_notes_of_a_moment_become_one_entry_with_a_count(tmp_path: Path) -> None:
    async with opened(tmp_path) as audit:
        for path in ("a", "b", "a", "a"):
            audit.note(Kind.REFUSAL, "stranger", f"GET /{path}", Outcome.REFUSED, reason="no token")
        await audit.flush()
        assert [(each.what, each.times) for each in await audit.entries()] == [("GET /a", 3), ("GET /b", 1)]
        await audit.flush()
        assert audit.head.value == 2


async def test_a_flood_of_refusals_is_counted_and_not_listed(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as audit:
        for index in range(audits.BURST + 70):
            audit.note(Kind.REFUSAL, "stranger", f"GET /{index}", Outcome.REFUSED)
        await audit.flush()
        found = await audit.entries()
        assert (len(found), found[-1].times, found[-1].who) == (audits.BURST + 1, 70, "several")
        clock.advance(2)
        for index in range(5):
            audit.note(Kind.REFUSAL, "stranger", f"GET /later/{index}", Outcome.REFUSED)
        await audit.flush()
        assert [each.times for each in (await audit.entries())[-3:]] == [1, 1, 3]


async def test_notes_are_written_by_themselves_and_at_the_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as audit, anyio.create_task_group() as group:
        group.start_soon(audit.run)
        audit.note(Kind.REFUSAL, "stranger", "GET /", Outcome.REFUSED)
        with anyio.fail_after(20):
            await audit.head.newer_than(0)
        audit.note(Kind.REFUSAL, "stranger", "GET /last", Outcome.REFUSED)
        group.cancel_scope.cancel()
    assert '"GET /last"' in listed(tmp_path / "audit")[0].read_text()


async def test_a_full_disk_fails_the_deed_and_is_over_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:  # noqa: ARG001 - as os.write
        raise OSError(28, "No space left on device")

    async with opened(tmp_path) as audit:
        await audit.ready()
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            for _ in range(2):
                with pytest.raises(UnusableError, match="WFT-1880"):
                    await audit.record(Kind.BAN, "root", "ban a", Outcome.DONE)
            with pytest.raises(UnusableError):
                await audit.ready()
            audit.note(Kind.REFUSAL, "stranger", "GET /", Outcome.REFUSED)
            await audit.flush()
        await audit.ready()
        await audit.flush()
        assert [each.what for each in await audit.entries()] == ["the audit log can be written again", "GET /"]


async def test_entries_are_found_by_time_kind_and_number(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as audit:
        await audit.record(Kind.BAN, "root", "one", Outcome.DONE)
        clock.advance(60)
        await audit.record(Kind.TOKEN, "root", "two", Outcome.DONE)
        await audit.record(Kind.BAN, "root", "three", Outcome.DONE)
        assert [each.what for each in await audit.entries(kind="ban")] == ["one", "three"]
        assert [each.what for each in await audit.entries(since="2026-01-01T00:00:30")] == ["two", "three"]
        assert [each.what for each in await audit.entries(after=2)] == ["three"]
        assert [each.what for each in await audit.entries(limit=1)] == ["three"]


async def test_a_crash_in_the_middle_of_an_entry_is_written_down(tmp_path: Path) -> None:
    async with opened(tmp_path) as audit:
        await audit.record(Kind.BAN, "root", "one", Outcome.DONE)
    with listed(tmp_path / "audit")[0].open("ab") as file:
        file.write(b'{"number":2')
    async with opened(tmp_path) as audit:
        await audit.flush()
        assert [each.kind for each in await audit.entries()] == ["ban", "operation"]


async def test_a_log_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "audit-000000000001.jsonl").write_bytes(b"not an entry\n")
    with pytest.raises(UnusableError, match="WFT-1881"):
        await Audit.open(tmp_path, Clock())
    (tmp_path / "file").touch()
    with pytest.raises(UnusableError, match="WFT-1880"):
        await Audit.open(tmp_path / "file", Clock())


@pytest.mark.parametrize(
    "secret",
    [
        "weft_" + "A" * 43,
        "Bearer abcdef",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",
        "-----BEGIN EC PRIVATE KEY-----\nMHc",
    ],
)
def test_nothing_that_looks_like_a_secret_goes_through(secret: str) -> None:
    assert clean(f"he said {secret}") == "he said (secret)"


def test_a_text_is_one_printable_line_of_bounded_length() -> None:
    assert clean("a\r\nb\x1b[31m") == "a??b?[31m"
    assert len(clean("x" * 10_000)) == audits.MAX_TEXT
