from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from tests.support.stores import ALICE, BOB, Clock, anything
from weft.api.document import read
from weft.control import changes
from weft.errors import Problem
from weft.sources.audit import Audit, Kind, Outcome
from weft.sources.lock import UnusableError
from weft.sources.publish import Publisher
from weft.sources.store import Store
from weft.values import Origin

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from weft.sources.audit_file import Entry
    from weft.sources.records import Writer


async def write(store: Store, name: str, who: Writer = ALICE) -> None:
    text = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"
    await store.apply(who, list(read(text.encode(), "test").documents))


async def followed(store: Store, audit: Audit, count: int) -> tuple[Entry, ...]:
    """The log once it has at least ``count`` entries."""
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(changes.follow, store, audit)
            while audit.head.value < count:
                await audit.head.newer_than(audit.head.serial)
            group.cancel_scope.cancel()
    return await audit.entries()


async def test_every_change_is_written_down_with_who_made_it(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, anything, publisher=Publisher(), now=Clock())
    audit = await Audit.open(tmp_path, Clock())
    await write(store, "a")
    await write(store, "b", BOB)
    found = await followed(store, audit, 2)
    assert {(each.who, each.what, each.detail["revision"]) for each in found} == {
        ("alice by a test", "created Namespace/a", "1"),
        ("bob by a test", "created Namespace/b", "2"),
    }
    await store.close()


async def test_what_happened_while_nobody_wrote_it_down_follows_after_a_restart_once(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, anything, publisher=Publisher(), now=Clock())
    audit = await Audit.open(tmp_path, Clock())
    await write(store, "a")
    await followed(store, audit, 1)
    await audit.close()
    await write(store, "b")
    await write(store, "c")
    audit = await Audit.open(tmp_path, Clock())
    found = await followed(store, audit, 3)
    assert sorted(each.detail["revision"] for each in found) == ["1", "2", "3"]
    await store.close()


async def test_a_log_that_cannot_be_written_gets_the_change_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await Store.open(tmp_path, anything, publisher=Publisher(), now=Clock())
    audit = await Audit.open(tmp_path, Clock())
    tried = anyio.Event()
    real = audit.record

    async def refusing(*_: object, **__: str) -> None:
        tried.set()
        monkeypatch.setattr(audit, "record", real)
        raise UnusableError(Problem(code="WFT-1880", message="full", remedy="make room", origin=Origin("audit")))

    monkeypatch.setattr(changes, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(audit, "record", refusing)
    await write(store, "a")
    (entry,) = await followed(store, audit, 1)
    assert tried.is_set()
    assert entry.kind == Kind.CHANGE.value
    await store.close()


async def test_changes_that_the_store_forgot_are_said_to_be_missing(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, anything, publisher=Publisher(), now=Clock())
    audit = await Audit.open(tmp_path, Clock())
    await audit.record(Kind.CHANGE, "alice", "created Namespace/x", Outcome.DONE, revision="1")
    for name in "abc":
        await write(store, name)
    await store.locked(lambda database: database.prune(2))
    found = await followed(store, audit, 2)
    assert found[1].what == "changes up to revision 3 are not known any more"
    await store.close()


async def test_a_new_log_beside_an_old_store_says_where_it_begins(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, anything, publisher=Publisher(), now=Clock())
    await write(store, "a")
    await write(store, "b")
    await store.locked(lambda database: database.prune(1))
    audit = await Audit.open(tmp_path, Clock())
    (entry,) = await followed(store, audit, 1)
    assert (entry.what, entry.detail["revision"]) == ("the log begins at revision 2", "2")
    await store.close()
