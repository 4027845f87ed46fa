"""Promise B5: a file that is being written, or was cut, never becomes a partial configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.stores import open_store
from weft.sources.files import FileSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STEP = 7


def text(*names: str) -> bytes:
    return b"---\n".join(f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n".encode() for name in names)


def in_place(path: Path, content: bytes) -> Iterator[None]:
    """Truncates, then writes piece by piece, as shells, nano and many others do."""
    path.write_bytes(b"")
    yield
    for end in range(STEP, len(content) + STEP, STEP):
        path.write_bytes(content[:end])
        yield


def by_rename(path: Path, content: bytes) -> Iterator[None]:
    """Writes beside and renames over, as vim does with some settings, and most tools."""
    beside = path.with_name(".beside.swp")
    for end in range(STEP, len(content) + STEP, STEP):
        beside.write_bytes(content[:end])
        yield
    beside.replace(path)
    yield


def by_removal(path: Path, content: bytes) -> Iterator[None]:
    """Moves the old file away, then makes a new one under its name."""
    path.replace(path.with_name("one.yaml~"))
    yield
    yield from in_place(path, content)


@pytest.mark.parametrize("editor", [in_place, by_rename, by_removal])
async def test_whatever_an_editor_does_only_whole_files_are_believed(
    tmp_path: Path, editor: Callable[[Path, bytes], Iterator[None]]
) -> None:
    store, path = await open_store(tmp_path / "state"), tmp_path / "mesh" / "one.yaml"
    path.parent.mkdir()
    path.write_bytes(text("a", "b", "c"))
    times = [0.0]
    source = FileSource(path.parent, store, clock=lambda: times[-1])
    await source.read()
    for _ in editor(path, text("a", "b", "c", "d").replace(b"name: b", b"name: x")):
        await source.read()
        # Nothing goes before the new file is whole.
        assert {"a", "b", "c"} <= {record.ref.name for record in store.records}
    for later in (1.0, 2.0):
        times.append(later)
        await source.read()
    assert {record.ref.name for record in store.records} == {"a", "x", "c", "d"}
    assert source.problems == ()
    await store.close()


async def test_a_file_that_is_cut_at_any_byte_keeps_every_object(tmp_path: Path) -> None:
    store, path = await open_store(tmp_path / "state"), tmp_path / "one.yaml"
    whole = text("a", "b", "c")
    path.write_bytes(whole)
    source = FileSource(path, store, clock=lambda: 0.0)
    await source.read()
    revision = store.revision
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        await source.read()
        assert (len(store.records), store.revision) == (3, revision)
        assert [problem.code for problem in source.problems] == ["WFT-1516"]
    path.write_bytes(whole)
    await source.read()
    assert (source.problems, store.revision) == ((), revision)
    await store.close()
