from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft


def test_a_ban_is_lifted_by_the_name_that_was_banned(weft: Weft) -> None:
    weft.control.answers["DELETE /weft/v1/bans"] = {"lifted": ["spiffe://local/ns/shop/sa/pay"]}
    assert weft("unban", "pay", "-n", "shop").out == "spiffe://local/ns/shop/sa/pay unbanned\n"
    assert weft.control.asked("DELETE", "/weft/v1/bans").query == {"who": "pay", "namespace": "shop"}
