from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.stores import ALICE, documents, open_store
from weft.sources.earlier import SOURCE, owners, withdraw
from weft.sources.files import FileSource

if TYPE_CHECKING:
    from pathlib import Path

    from weft.sources.store import Store


def namespace(name: str) -> str:
    return f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n"


def names(store: Store) -> list[str]:
    return [record.ref.name for record in store.records]


def written(path: Path, *found: str) -> Path:
    path.write_text("---\n".join(namespace(name) for name in found))
    return path


def synced(store: Store) -> bool:
    return store.publisher.latest.value.synced


async def read(store: Store, path: Path, *found: str) -> FileSource:
    made = FileSource(written(path, *found), store)
    await made.read()
    return made


async def test_what_only_files_of_an_earlier_run_said_goes_away(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "state")
    await store.apply(ALICE, documents(namespace("alice")))
    await read(store, tmp_path / "one.yaml", "a", "both")
    two = await read(store, tmp_path / "two.yaml", "b", "both")
    assert owners(store.records) == {f"file:{tmp_path}/one.yaml", f"file:{tmp_path}/two.yaml"}
    before = [record.revision for record in store.records if record.ref.name == "both"]
    await withdraw(store, [two])
    assert names(store) == ["alice", "b", "both"]
    assert [record.revision for record in store.records if record.ref.name == "both"] == before
    (change, *_) = await store.history()
    assert (change.record.ref.name, change.writer.who) == ("a", f"file {tmp_path}/one.yaml")
    await store.close()


async def test_without_any_file_everything_stays(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "state")
    await read(store, tmp_path / "one.yaml", "a")
    await withdraw(store, [])
    assert names(store) == ["a"]
    await store.close()


async def test_the_world_is_not_synced_before(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "state")
    store.publisher.expect(SOURCE)
    one = await read(store, tmp_path / "one.yaml", "a")
    assert not synced(store)
    await withdraw(store, [one])
    assert synced(store)
    await store.close()
