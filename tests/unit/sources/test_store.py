from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support.stores import ALICE, BOB, open_store, record, route, route_ref
from weft.errors import Problem
from weft.sources.lock import UnusableError
from weft.sources.publish import Publisher
from weft.sources.records import Applied, Change, Outcome, Reason, Record, Verb

if TYPE_CHECKING:
    from pathlib import Path


def spec(found: Record | None) -> object:
    assert found is not None
    return json.loads(found.document)["spec"]


def verbs(applied: Applied | Problem) -> list[str]:
    assert isinstance(applied, Applied)
    return [outcome.verb.value for outcome in applied.outcomes]


async def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    assert store.fresh
    await store.apply(ALICE, [route("b", x=1), route("a", x=2)])
    await store.delete(ALICE, route_ref("b"))
    before = store.publisher.latest.value
    await store.close()
    again = await open_store(tmp_path)
    assert not again.fresh
    assert again.publisher.latest.value == before
    assert [found.ref.name for found in again.records] == ["a"]
    await again.close()


async def test_good_documents_apply_beside_bad_ones_and_the_bad_ones_keep_their_last_good_state(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.apply(ALICE, [route("a", x=1), route("b", x=1)])
    applied = await store.apply(ALICE, [route("a", bad=True), route("b", x=2)], prune=True)
    assert verbs(applied) == ["refused", "configured"]
    assert [problem.code for problem in applied.problems] == ["WFT-1105"]
    assert (spec(store.get(route_ref("a"))), spec(store.get(route_ref("b")))) == ({"x": 1}, {"x": 2})
    await store.close()


async def test_pruning_removes_what_the_owner_no_longer_names_and_nothing_else(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.apply(ALICE, [route("a"), route("b")])
    await store.apply(BOB, [route("c")])
    assert verbs(await store.apply(ALICE, [route("b")])) == ["unchanged"]
    assert verbs(await store.apply(ALICE, [route("b")], prune=True)) == ["unchanged", "deleted"]
    assert [found.ref.name for found in store.records] == ["b", "c"]
    await store.close()


async def test_a_dry_run_says_what_would_happen_and_does_nothing(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    assert verbs(await store.apply(ALICE, [route("a")], dry_run=True)) == ["created"]
    assert (store.revision, store.records) == (0, ())
    await store.close()


async def test_the_world_follows_every_write_at_once_and_unchanged_records_keep_their_identity(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.apply(ALICE, [route(f"r{number:03}", x=1) for number in range(150)])
    before = store.publisher.latest.value
    await store.apply(ALICE, [route("r070", x=2), route("aaa", x=3)])
    after = store.publisher.latest.value
    assert (after.revision, len(after.records)) == (152, 151)
    assert [found.ref for found in after.records] == sorted(found.ref for found in after.records)
    kept = {id(found) for found in before.records} & {id(found) for found in after.records}
    assert len(kept) == 149
    serial = store.publisher.latest.serial
    await store.apply(ALICE, [route("r070", x=2)])
    assert store.publisher.latest.serial == serial
    await store.close()


async def test_history_says_who_when_and_what(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.apply(ALICE, [route("a", x=1), route("b", x=1)])
    await store.apply(BOB, [route("a", x=2)])
    newest, *_ = found = await store.history()
    assert (newest.revision, newest.batch, newest.verb, newest.writer) == (3, 3, Verb.CONFIGURED, BOB)
    assert newest.time == "2026-01-01T00:00:00Z"
    assert [change.revision for change in found] == [3, 2, 1]
    assert [change.batch for change in found] == [3, 1, 1]
    assert [change.revision for change in await store.history(route_ref("b"))] == [2]
    assert spec(await store.before(newest)) == {"x": 1}
    await store.close()


async def test_a_rollback_restores_everything_as_a_new_change(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.apply(ALICE, [route("a", x=1), route("b", x=1)])
    await store.apply(ALICE, [route("a", x=2), route("c", x=1)])
    await store.delete(ALICE, route_ref("b"))
    assert verbs(await store.rollback(BOB, 2)) == ["configured", "created", "deleted"]
    assert {found.ref.name: spec(found) for found in store.records} == {"a": {"x": 1}, "b": {"x": 1}}
    assert store.revision == 8
    assert verbs(await store.rollback(BOB, 5, ref=route_ref("a"))) == ["configured"]
    assert {found.ref.name: spec(found) for found in store.records} == {"a": {"x": 2}, "b": {"x": 1}}
    await store.close()


async def test_a_rollback_to_what_is_not_known_is_a_problem(tmp_path: Path) -> None:
    store = await open_store(tmp_path, keep=10)
    for number in range(30):
        await store.apply(ALICE, [route("a", x=number)])
    for unknown in (1, 99):
        found = await store.rollback(ALICE, unknown)
        assert isinstance(found, Problem)
        assert found.code == "WFT-1509"
    assert verbs(await store.rollback(ALICE, 25)) == ["configured"]
    assert spec(store.get(route_ref("a"))) == {"x": 24}
    await store.close()


async def test_watching_gives_every_change_in_order_and_wakes_for_a_new_one(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.apply(ALICE, [route("a", x=1)])
    seen: list[Change] = []

    async def watch() -> None:
        while len(seen) < 3:
            found = await store.changes(seen[-1].revision if seen else 0)
            assert not isinstance(found, Problem)
            seen.extend(found)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await anyio.wait_all_tasks_blocked()
            await store.apply(BOB, [route("a", x=2)])
            await store.delete(BOB, route_ref("a"))
    assert [change.verb for change in seen] == [Verb.CREATED, Verb.CONFIGURED, Verb.DELETED]
    assert isinstance(await store.changes(99), Problem)
    await store.close()


async def test_a_watch_from_a_forgotten_revision_is_told(tmp_path: Path) -> None:
    store = await open_store(tmp_path, keep=10)
    for number in range(30):
        await store.apply(ALICE, [route("a", x=number)])
    assert isinstance(await store.changes(1), Problem)
    assert not await store.knows(1)
    assert await store.knows(30)
    await store.close()


async def test_of_two_writers_with_the_same_version_one_is_told(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    read = record(await store.create(ALICE, route("a", x=1))).as_document
    outcomes: list[Outcome] = []

    async def write(value: int) -> None:
        data = {**read.data, "spec": {"x": value}}
        outcomes.append(await store.replace(ALICE, type(read)(ref=read.ref, data=data, origin=read.origin)))

    async with anyio.create_task_group() as group:
        group.start_soon(write, 2)
        group.start_soon(write, 3)
    assert sorted(outcome.verb.value for outcome in outcomes) == ["configured", "refused"]
    await store.close()


async def test_an_update_reads_and_writes_with_nobody_in_between(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.create(ALICE, route("a", x=0))

    async def increment() -> None:
        def change(found: Record | None) -> object:
            value = spec(found)
            assert isinstance(value, dict)
            return route("a", x=value["x"] + 1)

        await store.update(ALICE, route_ref("a"), change)  # type: ignore[arg-type]  # a document, seen from here

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(increment)
    assert spec(store.get(route_ref("a"))) == {"x": 20}
    refused = await store.update(
        ALICE, route_ref("a"), lambda _: Outcome(route_ref("a"), Verb.REFUSED, reason=Reason.INVALID)
    )
    assert refused.reason is Reason.INVALID
    await store.close()


async def test_a_second_store_on_one_directory_is_refused(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    with pytest.raises(UnusableError, match="WFT-1503"):
        await open_store(tmp_path)
    await store.close()
    await (await open_store(tmp_path)).close()


async def test_a_refused_store_gives_its_lock_back(tmp_path: Path) -> None:
    (tmp_path / "weft.db").write_bytes(b"")
    for _ in range(2):
        with pytest.raises(UnusableError, match="WFT-1502"):
            await open_store(tmp_path)


async def test_a_store_publishes_where_it_is_told_to(tmp_path: Path) -> None:
    publisher = Publisher(["files"])
    store = await open_store(tmp_path, publisher=publisher)
    await store.apply(ALICE, [route("a")])
    assert (publisher.latest.value.revision, publisher.latest.value.synced) == (1, False)
    assert list(store.live) == [route_ref("a")]
    await store.close()
