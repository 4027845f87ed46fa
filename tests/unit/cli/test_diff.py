from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.weft_cli import Weft

REF = {"group": "", "kind": "Service", "namespace": "default", "name": "a"}
CHANGE = {"type": "Cluster", "name": "outbound|80||a", "source": "Service/default/a", "change": "added"}


def ask(weft: Weft, tmp_path: Path, answer: dict[str, Any], *arguments: str) -> tuple[int, str, str]:
    (tmp_path / "a.yaml").write_text("kind: Service\n")
    weft.control.answers["POST /weft/v1/diff"] = {"problems": [], "results": [], "proxies": [], **answer}
    return weft("diff", "-f", str(tmp_path), *arguments)


def test_objects_and_resources_of_proxies_are_shown(weft: Weft, tmp_path: Path) -> None:
    answer = {
        "results": [{"ref": REF, "verb": "created"}],
        "proxies": [{"node": "sidecar/default/front-v1-0", "changes": [CHANGE]}],
    }
    code, out, _ = ask(weft, tmp_path, answer)
    assert code == 3
    assert out.startswith("service/a created (dry run)\n\nPROXY")
    assert "default/front-v1-0   added    Cluster   outbound|80||a   Service/default/a" in out
    assert json.loads(ask(weft, tmp_path, answer, "-o", "json")[1])["proxies"] == answer["proxies"]
    assert ask(weft, tmp_path, answer, "-o", "name")[1] == "sidecar/default/front-v1-0 Cluster outbound|80||a\n"


def test_nothing_is_exit_code_0(weft: Weft, tmp_path: Path) -> None:
    assert ask(weft, tmp_path, {"results": [{"ref": REF, "verb": "unchanged"}]}) == (0, "", "Nothing would change.\n")


def test_an_object_without_effect_on_a_proxy_says_so(weft: Weft, tmp_path: Path) -> None:
    code, _, err = ask(weft, tmp_path, {"results": [{"ref": REF, "verb": "created"}]})
    assert (code, err) == (3, "No running proxy would change.\n")


def test_a_refused_object_is_a_failure(weft: Weft, tmp_path: Path) -> None:
    problem = {
        "code": "WFT-1102",
        "message": "m",
        "remedy": "r",
        "origin": {"source": "a.yaml", "line": 1, "column": 1},
    }
    code, _, err = ask(weft, tmp_path, {"results": [{"ref": REF, "verb": "refused"}], "problems": [problem]})
    assert code == 1
    assert "a.yaml:1:1" in err
