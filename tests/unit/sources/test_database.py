from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from weft.sources.database import FILE, Database, prepare
from weft.sources.lock import UnusableError
from weft.sources.records import Change, Record, Verb, Writer
from weft.values import Origin, Ref

if TYPE_CHECKING:
    from pathlib import Path

WRITER = Writer("owner", "who")


def change(revision: int, name: str, verb: Verb = Verb.CONFIGURED) -> Change:
    ref = Ref("", "Service", "default", name)
    record = Record(ref, b"%d" % revision, Origin("a.yaml", 2, 3), revision, b"[]", "text", 4, ("items", 0))
    return Change(revision, revision, "2026-01-01T00:00:00Z", WRITER, verb, record)


def filled(directory: Path, *changes: Change) -> Database:
    prepare(directory)
    database = Database(directory / FILE)
    with database.transaction():
        database.append(changes)
    return database


def test_what_stands_is_the_newest_change_of_each_object(tmp_path: Path) -> None:
    database = filled(tmp_path, change(1, "a"), change(2, "b"), change(3, "a"), change(4, "b", Verb.DELETED))
    assert database.load() == [change(3, "a").record]
    assert database.revision() == 4
    database.close()


def test_changes_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = (change(1, "a"), change(2, "b"), change(3, "a"))
    database = filled(tmp_path, *written)
    assert tuple(database.changes()) == written
    assert database.changes(after=1, ref=written[0].record.ref) == [written[2]]
    assert database.newest(until=2, limit=1) == [written[1]]
    database.close()


def test_forgetting_keeps_what_stood_at_the_floor(tmp_path: Path) -> None:
    gone = (change(1, "a"), change(3, "b"), change(4, "b", Verb.DELETED))
    kept = (change(2, "c"), change(5, "a"), change(6, "b"), change(7, "a"))
    database = filled(tmp_path, *sorted((*gone, *kept), key=lambda each: each.revision))
    with database.transaction():
        database.prune(5)
    assert tuple(database.changes()) == kept
    assert database.floor() == 5
    database.close()


def test_a_transaction_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    database = filled(tmp_path, change(1, "a"))
    with pytest.raises(sqlite3.IntegrityError), database.transaction():
        database.append([change(2, "b"), change(1, "a")])
    assert database.revision() == 1
    database.close()


def test_the_file_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    assert prepare(tmp_path)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert not prepare(tmp_path)


def test_a_database_of_another_program_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / FILE)
    other.execute("CREATE TABLE mine (x)")
    other.close()
    before = (tmp_path / FILE).read_bytes()
    assert refused(tmp_path) == "WFT-1501"
    assert (tmp_path / FILE).read_bytes() == before


def test_an_older_weft_refuses_the_store_of_a_newer_one(tmp_path: Path) -> None:
    prepare(tmp_path)
    newer = sqlite3.connect(tmp_path / FILE)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    assert refused(tmp_path) == "WFT-1510"


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_file_that_is_no_database_is_damage_and_never_an_empty_store(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert refused(tmp_path) == "WFT-1502"
    assert (tmp_path / FILE).read_bytes() == content


def test_a_log_without_its_database_is_damage(tmp_path: Path) -> None:
    (tmp_path / f"{FILE}-wal").write_bytes(b"x")
    assert refused(tmp_path) == "WFT-1502"


def test_a_directory_in_place_of_the_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    assert refused(tmp_path) in ("WFT-1502", "WFT-1504")


def test_a_new_store_that_cannot_be_put_there_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "weft.new").mkdir()
    assert refused(tmp_path) == "WFT-1504"


def refused(directory: Path) -> str:
    with pytest.raises(UnusableError) as caught:
        prepare(directory)
    assert FILE in str(caught.value)
    return caught.value.problem.code
