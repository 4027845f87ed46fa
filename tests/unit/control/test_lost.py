from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from weft.control.lost import lost
from weft.paths import Paths
from weft.sources.database import FILE

if TYPE_CHECKING:
    from pathlib import Path


def listener(paths: Paths, node: str) -> socket.socket:
    directory = paths.sockets(node)
    directory.mkdir(parents=True)
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(directory / "admin.sock"))
    made.listen()
    return made


def short(tmp_path: Path) -> Paths:
    """Paths of sockets are short; those of a test's directory may not be."""
    (tmp_path / "s").mkdir()
    return Paths(tmp_path / "s", tmp_path / "r")


def test_without_proxies_a_store_that_is_not_there_is_a_new_one(tmp_path: Path) -> None:
    assert lost(short(tmp_path)) is None


def test_with_running_proxies_a_store_that_is_not_there_is_lost(tmp_path: Path) -> None:
    paths = short(tmp_path)
    with listener(paths, "a"), listener(paths, "b"):
        problem = lost(paths)
        assert problem is not None
        assert (problem.code, "2 proxies" in problem.message) == ("WFT-1521", True)
        (paths.state / FILE).touch()
        assert lost(paths) is None


def test_sockets_that_dead_proxies_left_behind_do_not_count(tmp_path: Path) -> None:
    paths = short(tmp_path)
    listener(paths, "a").close()
    assert (paths.sockets("a") / "admin.sock").exists()
    assert lost(paths) is None
