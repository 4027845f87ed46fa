from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft


def test_versions_of_what_is_installed_and_of_what_runs(weft: Weft) -> None:
    weft.control.answers["GET /version"] = {"version": "9.9"}
    said = json.loads(weft("version", "-o", "json").out)
    assert said["control"] == "9.9"
    assert said["envoy"].count(".") == 2
    assert "envoyPath" in weft("version", "-o", "wide").out or "control" in weft("version", "-o", "wide").out


def test_nothing_running_is_no_failure(weft: Weft) -> None:
    weft.control.close()
    ran = weft("version")
    assert ran.code == 0
    assert "control   not running" in ran.out
