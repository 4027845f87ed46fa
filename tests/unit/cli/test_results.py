from __future__ import annotations

from typing import TYPE_CHECKING

from weft.cli import results
from weft.cli.client import Client

if TYPE_CHECKING:
    import pytest

    from tests.support.weft_cli import Weft

REF = {"group": "", "kind": "Service", "namespace": "default", "name": "a"}


def test_results_can_be_talk(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"results": [{"ref": REF, "verb": "created"}], "problems": []}
    assert results.report(answer, talk=True) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "service/a created\n")


def test_a_warning_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    warning = {"code": "WFT-1109", "message": "m", "remedy": "r", "origin": {"source": "x"}, "severity": "warning"}
    assert results.report({"results": [], "problems": [warning]}) == 0
    assert capsys.readouterr().err.startswith("warning WFT-1109")


def test_a_control_plane_that_does_not_settle_is_not_waited_for_for_ever(
    weft: Weft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "SETTLE_SECONDS", 0.0)
    weft.control.answers["GET /weft/v1/problems"] = {"revision": 1, "problems": []}
    assert results.settled(Client(str(weft.control.path)), {"revision": 2, "results": []}) == ()
