from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft


def change(revision: int, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    ref = {"group": "weft.dev", "kind": "Mesh", "namespace": "default", "name": "shop"}
    made = {
        "revision": revision,
        "time": "2026-01-01T00:00:00Z",
        "owner": "cli",
        "who": "ann with weft",
        "verb": "created",
    }
    return {**made, "ref": ref, **fields}


def test_history_is_who_when_and_what(weft: Weft) -> None:
    files = change(1, owner=f"file:{Path.cwd()}/mesh.yaml", who=f"file {Path.cwd()}/mesh.yaml")
    weft.control.answers["GET /weft/v1/history"] = {"items": [files, change(2)]}
    lines = weft("history").out.splitlines()
    assert lines[1].split()[2:] == ["file:mesh.yaml", "file", "created", "mesh/shop"]
    assert "ann with weft" in lines[2]
    assert weft("history", "-o", "name").out == "1\n2\n"


def test_the_history_of_one_object_is_asked_for_by_its_path(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/history"] = {"items": [change(1), change(2), change(3)]}
    ran = weft("history", "mesh/shop", "-n", "shop", "--limit", "1", "-o", "name")
    assert ran.out == "3\n"
    assert weft.control.asked("GET", "/weft/v1/history").query["ref"] == "Mesh/shop/shop"


def test_the_history_of_a_type_is_wrong_usage(weft: Weft) -> None:
    assert weft("history", "mesh").code == 2
