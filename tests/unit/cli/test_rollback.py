from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

PATH = "/weft/v1/rollback"


def test_going_back_shows_what_changed(weft: Weft) -> None:
    ref = {"group": "", "kind": "Namespace", "namespace": "", "name": "shop"}
    weft.control.answers[f"POST {PATH}"] = {
        "results": [{"ref": ref, "verb": "configured"}],
        "problems": [],
        "revision": 9,
    }
    assert weft("rollback", "3").out == "namespace/shop configured\n"
    assert weft.control.asked("POST", PATH).query == {"revision": "3"}
    assert weft("rollback", "0", "ns/shop", "--dry-run").out == "namespace/shop configured (dry run)\n"
    assert weft.control.asked("POST", PATH).query == {"revision": "0", "ref": "Namespace/shop", "dryRun": "true"}


def test_a_revision_is_a_number(weft: Weft) -> None:
    assert weft("rollback", "last").code == 2
