from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
import pytest
import watchfiles

from tests.support.stores import ALICE, documents, open_store
from weft.api.decode import decode
from weft.sources import files as files_module
from weft.sources.files import FileSource
from weft.sources.store import Store

if TYPE_CHECKING:
    from pathlib import Path


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def namespace(name: str) -> str:
    return f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n"


def mesh(*includes: str) -> str:
    listed = "".join(f"    - {include}\n" for include in includes)
    return f"apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: all}}\nspec:\n  include:\n{listed}"


def names(store: Store) -> list[str]:
    return [record.ref.name for record in store.records]


def codes(source: FileSource) -> list[str]:
    return [problem.code for problem in source.problems]


def source(store: Store, path: Path) -> tuple[FileSource, Seconds]:
    clock = Seconds()
    return FileSource(path, store, clock=clock), clock


async def test_a_folder_is_applied_and_the_world_is_synced_after_its_first_reading(tmp_path: Path) -> None:
    store, folder = await open_store(tmp_path / "state"), tmp_path / "mesh"
    (folder / "below").mkdir(parents=True)
    (folder / "a.yaml").write_text(namespace("a") + "---\n" + namespace("b"))
    (folder / "below" / "c.json").write_text('{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"c"}}')
    (folder / ".hidden.yaml").write_text(namespace("hidden"))
    (folder / "notes.txt").write_text("not a manifest")
    files, _ = source(store, folder)
    before = store.publisher.latest.value
    await files.read()
    assert (before.synced, store.publisher.latest.value.synced) == (False, True)
    assert names(store) == ["a", "b", "c"]
    assert store.records[1].origin.source == str(folder / "a.yaml")
    assert store.records[1].origin.line == 6
    await store.close()


async def test_a_document_that_leaves_a_file_goes_away_and_one_that_moves_between_files_stays(tmp_path: Path) -> None:
    store, folder = await open_store(tmp_path / "state"), tmp_path / "mesh"
    folder.mkdir()
    (folder / "1.yaml").write_text(namespace("a") + "---\n" + namespace("b"))
    files, clock = source(store, folder)
    await files.read()
    uid = store.records[1].document
    (folder / "1.yaml").write_text("# only a\n" + namespace("a"))
    (folder / "2.yaml").write_text(namespace("b"))
    for clock.now in (1.0, 2.0):
        await files.read()
        assert names(store) == ["a", "b"]
    assert files.problems == ()
    assert store.records[1].document == uid
    (folder / "2.yaml").write_text(namespace("c"))
    for clock.now in (3.0, 4.0):
        await files.read()
    assert names(store) == ["a", "c"]
    await store.close()


async def test_a_deleted_file_takes_its_objects_with_it_after_a_while(tmp_path: Path) -> None:
    store, folder = await open_store(tmp_path / "state"), tmp_path / "mesh"
    folder.mkdir()
    (folder / "1.yaml").write_text(namespace("a"))
    (folder / "2.yaml").write_text(namespace("b"))
    files, clock = source(store, folder)
    await files.read()
    (folder / "2.yaml").unlink()
    await files.read()
    assert names(store) == ["a", "b"]
    clock.now = 2.0
    await files.read()
    assert names(store) == ["a"]
    await store.close()


async def test_a_single_file_may_be_deleted_too(tmp_path: Path) -> None:
    store, path = await open_store(tmp_path / "state"), tmp_path / "one.yaml"
    path.write_text(namespace("a"))
    files, clock = source(store, path)
    await files.read()
    path.unlink()
    await files.read()
    clock.now = 2.0
    await files.read()
    assert names(store) == []
    await files.read()
    assert codes(files) == ["WFT-1009"]
    await store.close()


@pytest.mark.parametrize("single", [True, False])
async def test_a_path_that_is_not_there_removes_nothing_and_does_not_hold_up_the_start(
    tmp_path: Path, single: bool
) -> None:
    path = tmp_path / ("gone.yaml" if single else "gone/folder")
    store = await open_store(tmp_path / "state")
    files, _ = source(store, path)
    await files.read()
    assert codes(files) == ["WFT-1009"]
    assert store.publisher.latest.value.synced
    await store.close()


async def test_a_folder_that_is_gone_as_a_whole_keeps_everything(tmp_path: Path) -> None:
    store, folder = await open_store(tmp_path / "state"), tmp_path / "mesh"
    folder.mkdir()
    (folder / "1.yaml").write_text(namespace("a"))
    files, clock = source(store, folder)
    await files.read()
    folder.rename(tmp_path / "elsewhere")
    for clock.now in (1.0, 100.0):
        await files.read()
        assert (names(store), codes(files)) == (["a"], ["WFT-1009"])
    (tmp_path / "elsewhere").rename(folder)
    (folder / "1.yaml").write_text(namespace("b"))
    for clock.now in (200.0, 201.0):
        await files.read()
    assert (names(store), codes(files)) == (["b"], [])
    await store.close()


async def test_a_file_that_is_broken_at_the_start_removes_nothing_that_was_stored(tmp_path: Path) -> None:
    store, path = await open_store(tmp_path / "state"), tmp_path / "one.yaml"
    path.write_text(namespace("a") + "---\n" + namespace("b"))
    await source(store, path)[0].read()
    path.write_text(namespace("a") + "---\nkind: [\n")
    files, _ = source(store, path)
    await files.read()
    assert (names(store), codes(files)) == (["a", "b"], ["WFT-1004"])
    await store.close()


async def test_problems_of_documents_stand_at_their_line_and_the_rest_applies(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "state", lambda document: decode(document).problems)
    path = tmp_path / "one.yaml"
    path.write_text(namespace("a") + "---\napiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec:\n  portz: []\n")
    files, _ = source(store, path)
    await files.read()
    assert names(store) == ["a"]
    found = {(problem.code, problem.origin.source, problem.origin.line) for problem in files.problems}
    assert ("WFT-1102", str(path), 10) in found
    await store.close()


async def test_of_an_object_in_two_files_the_first_counts_and_both_places_are_told(tmp_path: Path) -> None:
    store, folder = await open_store(tmp_path / "state"), tmp_path / "mesh"
    folder.mkdir()
    for name in ("1.yaml", "2.yaml"):
        (folder / name).write_text(namespace("a") + f"spec: {{from: {name}}}\n")
    files, _ = source(store, folder)
    await files.read()
    assert b"1.yaml" in store.records[0].document
    (problem,) = files.problems
    assert (problem.code, problem.origin.source) == ("WFT-1110", str(folder / "2.yaml"))
    assert str(folder / "1.yaml") in problem.message
    await store.close()


async def test_the_file_wins_over_an_edit_of_its_fields_and_leaves_other_fields(tmp_path: Path) -> None:
    store, path = await open_store(tmp_path / "state"), tmp_path / "one.yaml"
    path.write_text(namespace("a") + "spec: {x: 1}\n")
    files, _ = source(store, path)
    await files.read()
    await store.apply(ALICE, documents(namespace("a") + "spec: {x: 2, y: 3}\n"))
    path.write_text(namespace("a") + "spec: {x: 4}\n")
    await files.read()
    assert b'"spec":{"x":4,"y":3}' in store.records[0].document
    assert codes(files) == ["WFT-1506"]
    await store.close()


async def test_a_mesh_includes_files_beside_it_and_below(tmp_path: Path) -> None:
    store, folder = await open_store(tmp_path / "state"), tmp_path / "mesh"
    (folder / "more").mkdir(parents=True)
    (folder / "mesh.yaml").write_text(mesh("./a.yaml", "more/b.yaml"))
    (folder / "a.yaml").write_text(namespace("a"))
    (folder / "more" / "b.yaml").write_text(namespace("b") + "---\n" + mesh("../mesh.yaml").replace("all", "back"))
    files, clock = source(store, folder / "mesh.yaml")
    await files.read()
    assert names(store) == ["a", "b", "all", "back"]
    assert files.problems == ()
    (folder / "a.yaml").write_text(namespace("c"))
    for clock.now in (1.0, 2.0):
        await files.read()
    assert names(store) == ["b", "c", "all", "back"]
    await store.close()


async def test_an_include_that_leaves_the_folder_or_is_not_there_is_refused_with_its_place(tmp_path: Path) -> None:
    store, folder = await open_store(tmp_path / "state"), tmp_path / "mesh"
    folder.mkdir()
    (tmp_path / "secret.yaml").write_text(namespace("secret"))
    (folder / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    (folder / "mesh.yaml").write_text(
        mesh("../secret.yaml", str(tmp_path / "secret.yaml"), "link.yaml", "nothing.yaml")
    )
    files, _ = source(store, folder / "mesh.yaml")
    await files.read()
    assert names(store) == ["all"]
    assert [(problem.code, problem.origin.line) for problem in files.problems] == [
        ("WFT-1517", 6 + n) for n in range(4)
    ]
    await store.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
async def test_a_file_that_may_not_be_read_keeps_what_it_said(tmp_path: Path) -> None:
    store, path = await open_store(tmp_path / "state"), tmp_path / "one.yaml"
    path.write_text(namespace("a"))
    files, clock = source(store, path)
    await files.read()
    path.chmod(0)
    for clock.now in (1.0, 100.0):
        await files.read()
        assert (names(store), codes(files)) == (["a"], ["WFT-1009"])
    await store.close()


async def test_a_change_on_the_disk_is_seen_without_asking(tmp_path: Path) -> None:
    store, folder = await open_store(tmp_path / "state"), tmp_path / "mesh"
    folder.mkdir()
    (folder / "1.yaml").write_text(namespace("a"))
    files = FileSource(folder, store, quiet_seconds=0.0)
    await files.read()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(files.watch)
            for step, expected in ((namespace("b"), ["b"]), (None, [])):
                serial = store.publisher.latest.serial
                if step is None:
                    (folder / "1.yaml").unlink()
                else:
                    (folder / "1.yaml").write_text(step)
                while names(store) != expected:
                    serial, _ = await store.publisher.latest.newer_than(serial)
            group.cancel_scope.cancel()
    await store.close()


async def test_a_file_in_a_folder_that_does_not_exist_yet_is_found_when_it_comes(tmp_path: Path) -> None:
    store, folder = await open_store(tmp_path / "state"), tmp_path / "mesh"
    files = FileSource(folder, store, quiet_seconds=0.0)
    await files.read()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(files.watch)
            serial = store.publisher.latest.serial
            folder.mkdir()
            (folder / "1.yaml").write_text(namespace("a"))
            while names(store) != ["a"]:
                serial, _ = await store.publisher.latest.newer_than(serial)
            group.cancel_scope.cancel()
    await store.close()


async def test_without_words_from_the_kernel_files_are_looked_at_by_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_watches(*_: object, **__: object) -> None:
        raise OSError("no space left for watches")

    monkeypatch.setattr(watchfiles, "awatch", no_watches)
    monkeypatch.setattr(files_module, "LOOK_MILLISECONDS", 1)
    store, path = await open_store(tmp_path / "state"), tmp_path / "one.yaml"
    files = FileSource(path, store)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(files.watch)
            serial = store.publisher.latest.serial
            path.write_text(namespace("a"))
            while names(store) != ["a"]:
                serial, _ = await store.publisher.latest.newer_than(serial)
            group.cancel_scope.cancel()
    await store.close()
