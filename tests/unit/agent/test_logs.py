"""Log files that stay small, and their last lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.agent import logs

if TYPE_CHECKING:
    from pathlib import Path


def test_a_large_log_is_cut_and_whoever_writes_goes_on_writing_to_it(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"y" * 50 + b"x" * 50)
        assert logs.rotate(path, 50)
        writer.write(b"new\n")
    assert path.read_bytes() == b"new\n"
    assert (tmp_path / "a.log.1").read_bytes() == b"x" * 50
    assert not logs.rotate(path, 50)
    assert not logs.rotate(tmp_path / "absent", 50)


def test_where_the_older_part_cannot_be_kept_the_log_stays_small_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"x" * 100)
    (tmp_path / "a.log.1").mkdir()
    assert logs.rotate(path, 50)
    assert path.read_bytes() == b""


def test_last_lines_cannot_steer_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"one\ntwo \x1b[31mred\x07\nthree\xff\n")
    assert logs.last_lines(path, 2) == ("two red", "three\ufffd")
    assert logs.last_lines(tmp_path / "absent", 2) == ()


def test_the_start_of_the_last_lines_is_found_across_blocks(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    lines = [b"%d" % number + b"-" * 100 + b"\n" for number in range(1000)]
    path.write_bytes(b"".join(lines))
    for count in (1, 10, 500, 1000):
        assert path.read_bytes()[logs.start_of_last(path, count) :] == b"".join(lines[-count:])
    assert logs.start_of_last(path, 5000) == 0
    assert logs.start_of_last(tmp_path / "absent", 5) == 0
