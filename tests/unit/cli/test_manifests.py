from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from weft.cli.client import Failed
from weft.cli.manifests import joined, sources
from weft.values import Origin

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_is_its_manifests_in_order(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.json", "sub/c.yml", "notes.txt", ".hidden/d.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [data for _, data in sources([str(tmp_path)])] == [b"a.json", b"b.yaml", b"sub/c.yml"]


def test_a_named_file_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "manifest.txt").write_text("x")
    assert sources([str(tmp_path / "manifest.txt")]) == [(str(tmp_path / "manifest.txt"), b"x")]


def test_every_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failed) as caught:
        sources([str(tmp_path / "a"), str(tmp_path / "b")])
    assert [problem.code for problem in caught.value.problems] == ["WFT-1009", "WFT-1009"]


def test_a_dash_is_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"kind: Mesh")))
    assert sources(["-"]) == [("stdin", b"kind: Mesh")]


def test_places_in_the_stream_are_places_in_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: 1\nb: 2")
    (tmp_path / "b.yaml").write_text("c: 3\n")
    stream = joined([str(tmp_path)])
    assert stream.body == b"a: 1\nb: 2\n---\nc: 3\n"
    assert stream.place(Origin("cli", 2, 4)) == Origin(str(tmp_path / "a.yaml"), 2, 4)
    assert stream.place(Origin("cli", 4, 1)) == Origin(str(tmp_path / "b.yaml"), 1, 1)
    assert stream.place(Origin("kube")) == Origin("kube")


def test_nothing_is_an_empty_stream(tmp_path: Path) -> None:
    assert joined([str(tmp_path)]).body == b""
