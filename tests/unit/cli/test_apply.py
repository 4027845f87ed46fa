from __future__ import annotations

import json
from typing import TYPE_CHECKING

from weft.cli.manifests import BUNDLE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.weft_cli import Weft

REF = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default", "name": "cart"}


def problem(line: int, code: str = "WFT-1102", source: str = "cli") -> dict[str, object]:
    return {
        "code": code,
        "message": "no such field",
        "remedy": "Remove it",
        "origin": {"source": source, "line": line, "column": 3},
    }


def test_an_apply_sends_the_manifests_and_shows_the_results(weft: Weft, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: HTTPRoute\n")
    weft.control.answers["POST /weft/v1/apply"] = {
        "results": [{"ref": REF, "verb": "created"}],
        "problems": [],
        "revision": 3,
    }
    weft.control.answers["GET /weft/v1/problems"] = {"revision": 3, "problems": []}
    ran = weft("apply", "-f", str(tmp_path))
    assert (ran.code, ran.out, ran.err) == (0, "httproute/cart created\n", "")
    asked = weft.control.asked("POST", "/weft/v1/apply")
    assert (asked.query, asked.content_type) == ({"owner": "cli"}, BUNDLE)
    source = {"source": str(tmp_path / "a.yaml"), "text": "kind: HTTPRoute\n"}
    assert json.loads(asked.body) == {"manifests": [source]}


def test_a_dry_run_says_so_and_changes_nothing(weft: Weft, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: HTTPRoute\n")
    ref = REF | {"namespace": "shop"}
    weft.control.answers["POST /weft/v1/apply"] = {
        "results": [{"ref": ref, "verb": "unchanged"}],
        "problems": [],
        "revision": 3,
    }
    ran = weft("apply", "-f", str(tmp_path), "--dry-run", "--prune", "--owner", "me")
    assert ran.out == "httproute/cart -n shop unchanged (dry run)\n"
    assert weft.control.asked("POST", "/weft/v1/apply").query == {"owner": "me", "dryRun": "true", "prune": "true"}


def test_a_problem_stands_where_the_server_says(weft: Weft, tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("kind: B\nfoo: 1\n")
    source = f"{tmp_path}/b.yaml"
    answer = {"results": [{"ref": REF, "verb": "refused"}], "problems": [problem(2, source=source)], "revision": 1}
    weft.control.answers["POST /weft/v1/apply"] = answer
    weft.control.answers["GET /weft/v1/problems"] = {"revision": 1, "problems": []}
    ran = weft("apply", "-f", str(tmp_path))
    assert ran.code == 1
    assert f"at   {tmp_path}/b.yaml:2:3" in ran.err


def test_a_problem_that_shows_only_in_the_whole_is_shown_too(weft: Weft, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: HTTPRoute\n")
    weft.control.answers["POST /weft/v1/apply"] = {
        "results": [{"ref": REF, "verb": "created"}],
        "problems": [],
        "revision": 9,
    }
    found = [problem(4, "WFT-1203") | {"ref": REF}, problem(1, "WFT-1204") | {"ref": REF | {"name": "other"}}]
    weft.control.answers["GET /weft/v1/problems"] = [
        {"revision": 8, "problems": []},
        {"revision": 9, "problems": found},
    ]
    ran = weft("apply", "-f", str(tmp_path))
    assert ran.code == 1
    assert "WFT-1203" in ran.err
    assert "WFT-1204" not in ran.err


def test_an_apply_without_a_file_is_wrong_usage(weft: Weft) -> None:
    assert weft("apply").code == 2
