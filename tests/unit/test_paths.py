"""Directories that nobody else can reach."""

from __future__ import annotations

from pathlib import Path

from weft.paths import Paths, lengths, locate, prepare, private_directory, public_directory


def test_our_own_variables_win_over_xdg_and_xdg_over_the_defaults() -> None:
    assert locate({"HOME": "/h"}, 7) == Paths(Path("/h/.local/state/weft"), Path("/tmp/weft-7"))  # noqa: S108 - the default
    xdg = {"HOME": "/h", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r"}
    assert locate(xdg, 7) == Paths(Path("/s/weft"), Path("/r/weft"))
    assert locate(xdg | {"WEFT_STATE_DIR": "/a", "WEFT_RUNTIME_DIR": "/b"}, 7) == Paths(Path("/a"), Path("/b"))


def test_directories_are_made_private_and_made_private_again(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "state", tmp_path / "run")
    assert prepare(paths) == ()
    paths.state.chmod(0o755)
    assert prepare(paths) == ()
    for directory in (paths.state, paths.runtime, paths.records, paths.held, paths.logs):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_a_link_or_a_file_in_the_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    for name in ("link", "file", "file/below"):
        problem = private_directory(tmp_path / name)
        assert problem is not None
        assert problem.code == "WFT-1601"


def test_a_runtime_directory_that_is_too_deep_for_sockets_is_refused(tmp_path: Path) -> None:
    deep = Paths(tmp_path, Path("/" + "x" * 80))
    assert [problem.code for problem in lengths(deep)] == ["WFT-1602"]
    fitting = Paths(tmp_path, Path("/" + "x" * 60))
    assert lengths(fitting) == ()
    assert len(str(fitting.sockets("sidecar/default/" + "n" * 200) / "in-65535.sock")) <= 107


def test_a_public_directory_is_ours_and_open_to_all_or_refused(tmp_path: Path) -> None:
    directory = tmp_path / "open"
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    assert public_directory(directory) is None
    assert directory.stat().st_mode & 0o777 == 0o755
    (tmp_path / "link").symlink_to(directory)
    for wrong in (tmp_path / "link", tmp_path / "absent" / "below"):
        problem = public_directory(wrong)
        assert problem is not None
        assert problem.code == "WFT-1601"
