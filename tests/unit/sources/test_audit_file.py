from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import msgspec
import pytest

from weft.sources import audit_file
from weft.sources.audit_file import GENESIS, AuditFile, Entry, Verified, entries, listed, verify

if TYPE_CHECKING:
    from pathlib import Path


def entry(what: str, **detail: str) -> Entry:
    return Entry(
        number=0,
        time="2026-01-01T00:00:00.000000Z",
        kind="change",
        who="me",
        what=what,
        outcome="done",
        previous="",
        detail=detail,
    )


def written(directory: Path, *texts: str, file_bytes: int = 10**6) -> AuditFile:
    file = AuditFile(directory, file_bytes=file_bytes, files=3)
    for text in texts:
        file.append([entry(text)])
    return file


def test_each_line_names_the_hash_of_the_line_before(tmp_path: Path) -> None:
    file = written(tmp_path, "a", "b")
    lines = listed(tmp_path)[0].read_bytes().splitlines()
    first, second = (msgspec.json.decode(line, type=Entry) for line in lines)
    assert (first.number, first.previous, second.previous) == (1, GENESIS, audit_file.digest(lines[0]))
    assert (file.number, file.hash) == (2, audit_file.digest(lines[1]))
    assert verify(tmp_path, file.number, file.hash) == Verified(2, 1, 2)


def test_only_the_owner_can_read_it_and_it_is_only_appended_to(tmp_path: Path) -> None:
    written(tmp_path / "log", "a")
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700
    assert stat.S_IMODE(listed(tmp_path / "log")[0].stat().st_mode) == 0o600


def test_a_new_process_goes_on_with_the_chain(tmp_path: Path) -> None:
    written(tmp_path, "a").close()
    file = AuditFile(tmp_path)
    file.append([entry("b", revision="7")])
    assert verify(tmp_path).problem == ""
    assert (AuditFile(tmp_path).number, AuditFile(tmp_path).revision) == (2, 7)


def test_a_line_that_a_crash_cut_short_is_taken_away_and_said(tmp_path: Path) -> None:
    written(tmp_path, "a", "b").close()
    path = listed(tmp_path)[0]
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines()[1])):
        path.write_bytes(whole[:-cut])
        file = AuditFile(tmp_path)
        assert (file.number, file.torn) == (1, True), cut
        file.append([entry("c")])
        assert verify(tmp_path) == Verified(2, 1, 2)
        file.close()


@pytest.mark.parametrize("at", range(5))
def test_every_line_that_is_removed_or_changed_shows(tmp_path: Path, at: int) -> None:
    file = written(tmp_path, *"abcde")
    path = listed(tmp_path)[0]
    lines = path.read_bytes().splitlines(keepends=True)
    for changed in (
        lines[:at] + lines[at + 1 :],
        [*lines[:at], lines[at].replace(b'"me"', b'"ma"'), *lines[at + 1 :]],
        [*lines[:at], lines[-1 - at], *lines[at + 1 :]] if at != 2 else lines[:2],
        [*lines[:at], b"{}\n", *lines[at + 1 :]],
    ):
        path.write_bytes(b"".join(changed))
        assert verify(tmp_path, file.number, file.hash).problem, changed


def test_a_cut_end_shows_to_whoever_remembers_what_was_written_last(tmp_path: Path) -> None:
    file = written(tmp_path, "a", "b", "c")
    path = listed(tmp_path)[0]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    assert verify(tmp_path, file.number, file.hash).problem == "entries 3 to 3 are gone"


def test_a_full_file_is_followed_by_the_next_and_the_chain_goes_on(tmp_path: Path) -> None:
    file = written(tmp_path, *"abcd", file_bytes=300)
    assert [path.name for path in listed(tmp_path)] == ["audit-000000000001.jsonl", "audit-000000000003.jsonl"]
    assert verify(tmp_path, file.number, file.hash) == Verified(4, 1, 4)
    listed(tmp_path)[1].unlink()
    assert verify(tmp_path, file.number, file.hash).problem == "entries 3 to 4 are gone"


def test_the_oldest_files_go_and_the_rest_still_verifies(tmp_path: Path) -> None:
    file = written(tmp_path, *"abcdefghij", file_bytes=300)
    assert len(listed(tmp_path)) == 3
    assert verify(tmp_path, file.number, file.hash) == Verified(6, 5, 10)
    listed(tmp_path)[1].unlink()
    assert verify(tmp_path).problem


def test_a_rotation_keeps_the_revision_that_was_reached(tmp_path: Path) -> None:
    file = AuditFile(tmp_path, file_bytes=100)
    file.append([entry("a", revision="9")])
    file.append([entry("b")])
    file.close()
    assert AuditFile(tmp_path).revision == 9


def test_a_file_that_was_begun_and_no_more_breaks_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, "a")
    (tmp_path / "audit-000000000002.jsonl").touch()
    file.close()
    file = AuditFile(tmp_path)
    file.append([entry("b")])
    assert verify(tmp_path, file.number, file.hash) == Verified(2, 1, 2)


def test_entries_can_be_read_from_a_number_on_across_files(tmp_path: Path) -> None:
    written(tmp_path, *"abcdef", file_bytes=300)
    assert [each.what for each in entries(tmp_path, after=3)] == ["d", "e", "f"]
    with listed(tmp_path)[-1].open("ab") as file:
        file.write(b"garbage\n")
    assert [each.what for each in entries(tmp_path)] == [*"abcdef"]


def test_a_disk_that_takes_half_of_an_entry_has_none_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, "a")
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:10]))
    with pytest.raises(OSError, match="no space"):
        file.append([entry("b")])
    monkeypatch.undo()
    file.append([entry("c")])
    assert [each.what for each in entries(tmp_path)] == ["a", "c"]
    assert verify(tmp_path) == Verified(2, 1, 2)
