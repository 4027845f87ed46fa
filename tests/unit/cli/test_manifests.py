from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from weft.cli import options
from weft.cli.client import Failed
from weft.cli.manifests import BUNDLE, send, sources

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.weft_cli import Weft


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


def test_files_are_sent_with_their_names_and_whatever_bytes_they_hold(weft: Weft) -> None:
    weft.control.answers["POST /weft/v1/apply"] = {"results": []}
    files = [("a.yaml", "name: ä\n".encode()), ("b.yaml", b"\xff")]
    assert send(options.control(), "/weft/v1/apply", {"owner": "me"}, files) == {"results": []}
    asked = weft.control.asked("POST", "/weft/v1/apply")
    assert (asked.query, asked.content_type) == ({"owner": "me"}, BUNDLE)
    sent = json.loads(asked.body)["manifests"]
    assert [(each["source"], each["text"].encode(errors="surrogateescape")) for each in sent] == files
