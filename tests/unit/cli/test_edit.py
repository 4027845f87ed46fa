from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.weft_cli import Weft

PATH = "/api/v1/namespaces/default/services/a"
ITEM = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "a", "resourceVersion": "7", "uid": "u"},
    "spec": {"x": 1},
    "status": {},
}


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An editor that runs the shell script of this file, with the edited file as ``$1``."""
    path = tmp_path / "editor"
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("EDITOR", str(path))
    monkeypatch.delenv("VISUAL", raising=False)
    return path


def test_what_the_editor_saved_is_put_with_the_version_that_was_read(weft: Weft, editor: Path) -> None:
    editor.write_text("#!/bin/sh\nsed -i 's/x: 1/x: 2/' $1\n")
    weft.control.answers |= {f"GET {PATH}": ITEM, f"PUT {PATH}": ITEM}
    ran = weft("edit", "svc/a")
    assert (ran.code, ran.out) == (0, "service/a configured\n")
    sent = json.loads(weft.control.asked("PUT", PATH).body)
    assert sent["spec"] == {"x": 2}
    assert sent["metadata"] == {"name": "a", "resourceVersion": "7"}
    assert "status" not in sent


@pytest.mark.parametrize("script", ["true", ": > $1"])
def test_an_unchanged_or_emptied_text_changes_nothing(weft: Weft, editor: Path, script: str) -> None:
    editor.write_text(f"#!/bin/sh\n{script}\n")
    weft.control.answers[f"GET {PATH}"] = ITEM
    ran = weft("edit", "svc/a")
    assert (ran.code, ran.err) == (0, "Not changed.\n")


@pytest.mark.parametrize("script", ["exit 3", "echo 'a: [' > $1", "printf 'a: 1\\n---\\nb: 1\\n' > $1"])
def test_an_edit_that_cannot_be_used_says_why(weft: Weft, editor: Path, script: str) -> None:
    editor.write_text(f"#!/bin/sh\n{script}\n")
    weft.control.answers[f"GET {PATH}"] = ITEM
    ran = weft("edit", "svc/a")
    assert ran.code == 1
    assert "error WFT-" in ran.err


def test_an_editor_that_is_not_there_is_a_problem(weft: Weft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "/nonexistent/editor")
    weft.control.answers[f"GET {PATH}"] = ITEM
    assert "WFT-1706" in weft("edit", "svc/a").err


def test_on_a_terminal_a_refused_edit_is_opened_again_with_the_reason(
    weft: Weft, editor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.isatty", lambda _: True)
    editor.write_text(f"#!/bin/sh\ncat $1 >> {tmp_path}/seen\nsed -i 's/x: 1/x: 2/; s/x: 2/x: 3/' $1\n")
    weft.control.answers |= {f"GET {PATH}": ITEM, f"PUT {PATH}": [(409, {"message": "faster"}), ITEM]}
    editor.write_text(
        f"#!/bin/sh\ncat $1 >> {tmp_path}/seen\necho '# n' >> $1\nsed -i 's/x: 2/x: 3/; s/x: 1/x: 2/' $1\n"
    )
    assert weft("edit", "svc/a").code == 0
    assert "# error WFT-1704: faster" in (tmp_path / "seen").read_text()


def test_what_is_wrong_stands_in_the_text_that_was_edited(weft: Weft, editor: Path) -> None:
    problem = {
        "code": "WFT-1102",
        "message": "no such field",
        "remedy": "Remove it",
        "origin": {"source": "PUT /api", "line": 1, "column": 290},
        "field": "spec.x",
    }
    weft.control.answers |= {
        f"GET {PATH}": ITEM,
        f"PUT {PATH}": (422, {"kind": "Status", "reason": "Invalid", "details": {"problems": [problem]}}),
    }
    editor.write_text("#!/bin/sh\nsed -i 's/x: 1/x: 2/' $1\n")
    ran = weft("edit", "svc/a")
    assert ran.code == 1
    assert "at   edit:" in ran.err
    assert ":290" not in ran.err


def test_one_object_at_a_time(weft: Weft) -> None:
    assert weft("edit", "svc").code == 2
    assert weft("edit", "svc/a", "svc/b").code == 2
