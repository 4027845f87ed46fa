from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import msgspec

from weft.agent import records

if TYPE_CHECKING:
    from pathlib import Path


class Thing(msgspec.Struct, frozen=True):
    name: str


def test_a_record_is_read_back_and_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "a.thing.json"
    records.save(path, Thing("a"))
    records.save(path, Thing("b"))
    assert records.load(path, Thing) == Thing("b")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_damaged_or_missing_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.thing.json"
    assert records.load(path, Thing) is None
    for content in (b"", b"{", b'{"name": 1}', b"\xff"):
        path.write_bytes(content)
        assert records.load(path, Thing) is None
    assert path.exists()


def test_all_of_one_kind_are_found_in_order_and_the_damaged_removed(tmp_path: Path) -> None:
    for name in ("b", "a"):
        records.save(tmp_path / f"{name}.thing.json", Thing(name))
    records.save(tmp_path / "c.other.json", Thing("c"))
    (tmp_path / "d.thing.json").write_bytes(b"{")
    (tmp_path / ".e.thing.json.new").write_bytes(b"{")
    assert records.load_all(tmp_path, ".thing.json", Thing) == (Thing("a"), Thing("b"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".e.thing.json.new",
        "a.thing.json",
        "b.thing.json",
        "c.other.json",
    ]
