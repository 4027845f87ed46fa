from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

PAY = "spiffe://local/ns/shop/sa/pay"
ITEM = {"spiffe_id": PAY, "reason": "stolen", "by": "ann", "time": "2026-01-01T00:00:00Z", "workloads": ["shop/pay"]}


def test_a_ban_names_who_and_why(weft: Weft) -> None:
    weft.control.answers["POST /weft/v1/bans"] = (201, {"banned": [PAY], "items": [ITEM]})
    ran = weft("ban", "pay", "-n", "shop", "--reason", "stolen")
    assert ran.out.splitlines()[1].split()[0] == PAY
    body = json.loads(weft.control.asked("POST", "/weft/v1/bans").body)
    assert body == {"who": "pay", "namespace": "shop", "reason": "stolen"}
    assert ran.err == "Banned with it: shop/pay\n"


def test_a_second_ban_says_that_it_was_there(weft: Weft) -> None:
    weft.control.answers["POST /weft/v1/bans"] = {"banned": [], "items": [ITEM]}
    assert weft("ban", "pay").err == "It was banned already.\nBanned with it: shop/pay\n"


def test_a_ban_of_what_does_not_run_says_so(weft: Weft) -> None:
    weft.control.answers["POST /weft/v1/bans"] = (201, {"banned": [PAY], "items": [{**ITEM, "workloads": []}]})
    assert weft("ban", PAY).err == "Nothing has this identity now.\n"
    weft.control.answers["GET /weft/v1/bans"] = {"items": []}
    assert weft("ban").err == "Nobody is banned.\n"


def test_without_a_name_it_lists(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/bans"] = {"items": [ITEM]}
    assert weft("ban", "-o", "name").out == f"{PAY}\n"
    assert "shop/pay" in weft("ban", "-o", "wide").out
