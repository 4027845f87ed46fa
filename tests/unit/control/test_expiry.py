from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio

from tests.support.stores import ALICE, Clock, anything
from weft.api.document import read
from weft.control import expiry
from weft.errors import Problem
from weft.sources.files import FileSource
from weft.sources.publish import Publisher
from weft.sources.records import Outcome, Reason, Verb
from weft.sources.store import Store
from weft.values import Origin

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

POLICY = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: a, annotations: {annotations}}}
spec: {{action: ALLOW}}
"""


async def write(store: Store, name: str, expires: str = "") -> None:
    annotations = f"{{weft.dev/expires: '{expires}'}}" if expires else "{}"
    text = POLICY.format(name=name, annotations=annotations)
    await store.apply(ALICE, list(read(text.encode(), "test").documents), prune=False)


def left(store: Store) -> list[str]:
    return [record.ref.name for record in store.records]


async def test_what_is_due_is_deleted_and_says_so_in_its_history(tmp_path: Path) -> None:
    clock = Clock()
    store = await Store.open(tmp_path, anything, publisher=Publisher(), now=clock)
    await write(store, "ends", "2026-01-01T00:10:00Z")
    await write(store, "later", "2026-01-01T01:00:00+00:30")
    await write(store, "never")
    await expiry.sweep(store, clock)
    assert left(store) == ["ends", "later", "never"]
    clock.advance(600)
    await expiry.sweep(store, clock)
    assert left(store) == ["later", "never"]
    (change,) = await store.history(limit=1)
    assert (change.writer.owner, change.writer.who) == ("weft-expiry", "weft: it expired at 2026-01-01T00:10:00+00:00")
    await store.close()


async def test_what_has_ended_is_not_taken_in_again_and_its_place_is_named(tmp_path: Path) -> None:
    clock = Clock()
    store = await Store.open(tmp_path / "state", expiry.admitted(anything, clock), publisher=Publisher(), now=clock)
    path = tmp_path / "policies.yaml"
    ends = POLICY.format(name="ends", annotations="{weft.dev/expires: '2026-01-01T00:10:00Z'}")
    stays = POLICY.format(name="stays", annotations="{}")
    path.write_text(f"{stays}---\n{ends}")
    files = FileSource(path, store, now=clock)
    await files.read()
    assert left(store) == ["ends", "stays"]
    clock.advance(600)
    await expiry.sweep(store, clock)
    await files.read()
    (problem,) = files.problems
    assert (problem.code, str(problem.origin)) == ("WFT-1431", f"{path}:8:70")
    path.write_text(f"{stays}---\n{ends}# changed\n")
    await files.read()
    assert left(store) == ["stays"]
    assert [each.code for each in files.problems] == ["WFT-1431"]
    revision = store.revision
    for _ in range(3):
        await files.read()
    assert store.revision == revision
    path.write_text(f"{stays}---\n{ends.replace('00:10', '20:00')}")
    await files.read()
    assert (left(store), files.problems) == (["ends", "stays"], ())
    await store.close()


async def test_it_waits_for_the_next_end_and_hears_of_new_ones(tmp_path: Path) -> None:
    def now() -> datetime:
        return datetime.now(UTC)

    store = await Store.open(tmp_path, anything, publisher=Publisher(), now=now)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(expiry.follow, store, now)
            await write(store, "past", "2020-01-01T00:00:00Z")
            while left(store):
                await store.publisher.latest.newer_than(store.publisher.latest.serial)
            group.cancel_scope.cancel()
    await store.close()


async def test_what_the_disk_refuses_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    store = await Store.open(tmp_path, anything, publisher=Publisher(), now=clock)
    await write(store, "ends", "2020-01-01T00:00:00Z")
    real, tries = store.delete, 0

    async def refusing(*arguments: object, **rest: object) -> Outcome:
        nonlocal tries
        tries += 1
        if tries == 1:
            problem = Problem(code="WFT-1504", message="full", remedy="make room", origin=Origin("db"))
            return Outcome(store.records[0].ref, Verb.REFUSED, None, (problem,), Reason.STORAGE)
        return await real(*arguments, **rest)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(store, "delete", refusing)
    monkeypatch.setattr(expiry, "LOOK_SECONDS", 0.01)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(expiry.follow, store, clock)
            while left(store):
                await store.publisher.latest.newer_than(store.publisher.latest.serial)
            group.cancel_scope.cancel()
    assert tries == 2
    await store.close()


async def test_only_policies_that_say_a_moment_end(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, anything, publisher=Publisher(), now=Clock())
    await write(store, "odd", "tomorrow")
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, annotations: {weft.dev/expires: '2020-01-01T00:00:00Z'}}\n"
    await store.apply(ALICE, list(read(text.encode(), "test").documents), prune=False)
    assert expiry.expiring(store.records) == []
    await store.close()
