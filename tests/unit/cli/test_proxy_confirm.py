from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

NODE = "sidecar/shop/web-v1-0"


def test_what_is_kept_back_is_let_go(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/proxies"] = {"items": [{"node": NODE}]}
    weft.control.answers[f"POST /weft/v1/proxies/{NODE}/confirm"] = [{"removed": 12}, {"removed": 0}]
    ran = weft("proxy", "confirm", "web-v1-0", "-n", "shop")
    assert (ran.code, ran.out, ran.err) == (0, "", "web-v1-0 loses 12 resources.\n")
    assert weft("proxy", "confirm", NODE).err == "Nothing is kept back for web-v1-0.\n"
    assert weft.control.asked("POST", f"/weft/v1/proxies/{NODE}/confirm")


def test_an_unknown_proxy_is_a_problem(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/proxies"] = {"items": [{"node": NODE}]}
    ran = weft("proxy", "confirm", "wbe-v1-0", "-n", "shop")
    assert ran.code == 1
    assert "web-v1-0" in ran.err
