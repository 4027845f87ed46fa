"""What policies in dry run would have done, from the counters of proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

RULE = "AuthorizationPolicy/shop/p.v1/rules"
STATS = "GET /v1/proxies/shop/{}/admin/stats"


def policy(action: str, *, dry_run: bool = True) -> dict[str, Any]:
    source = RULE.removesuffix("/rules")
    rules = [{"source": f"{RULE}/{number}", "place": ""} for number in range(2)]
    return {"source": source, "place": "", "action": action, "dryRun": dry_run, "provider": "", "rules": rules}


def listed(weft: Weft, *policies: dict[str, Any]) -> None:
    weft.control.answers["GET /weft/v1/authz/shop/pay"] = {
        "name": "shop/pay",
        "identities": [],
        "default": "allow",
        "proxies": ["shop/pay-0", "shop/pay-1"],
        "items": [
            {"port": 80, "mode": "STRICT", "modeSource": "", "modePlace": "", "issuers": [], "policies": list(policies)}
        ],
    }


def counted(weft: Weft, proxy: str, **stats: int) -> None:
    names = {
        "first": f"http.inbound.rbac.dry_run_deny_.policy.{RULE}/0.shadow_denied",
        "plain": f"http.inbound-plain.80.rbac.dry_run_deny_.policy.{RULE}/0.shadow_denied",
        "raw": f"policy.{RULE}/1.rbac.dry_run_deny_.shadow_denied",
        "all": "http.inbound.rbac.dry_run_deny_.shadow_denied",
        "allow": "http.inbound.rbac.dry_run_allow_.shadow_denied",
        "tcp": "policy.allow.rbac.dry_run_allow_.shadow_denied",
    }
    found: list[dict[str, Any]] = [{"name": names[key], "value": value} for key, value in stats.items()]
    weft.agent.answers[STATS.format(proxy)] = {"stats": [*found, {"histograms": {}}]}


@pytest.mark.parametrize(("action", "count"), [("DENY", 1 + 2 + 4 + 16), ("ALLOW", 64 + 128)])
def test_the_counts_of_all_proxies_are_added_up(weft: Weft, action: str, count: int) -> None:
    listed(weft, policy(action))
    counted(weft, "pay-0", first=1, plain=2, raw=4, all=8, allow=64)
    counted(weft, "pay-1", first=16, all=32, tcp=128)
    ran = weft("authz", "list", "shop/pay")
    assert f"2 rules, dry run: would have denied {count} " in ran.out
    assert "Not counted" not in ran.err


def test_proxies_that_cannot_be_asked_are_named(weft: Weft) -> None:
    listed(weft, policy("DENY"))
    counted(weft, "pay-0", first=1)
    ran = weft("authz", "list", "shop/pay")
    assert "would have denied 1 " in ran.out
    assert "nobody here could be asked: shop/pay-1" in ran.err


def test_without_an_agent_nothing_is_said_of_how_often(weft: Weft) -> None:
    listed(weft, policy("DENY"))
    weft.agent.close()
    ran = weft("authz", "list", "shop/pay")
    assert "dry run " in ran.out
    assert "would have" not in ran.out
    assert "shop/pay-0, shop/pay-1" in ran.err


def test_where_nothing_is_in_dry_run_nobody_is_asked(weft: Weft) -> None:
    listed(weft, policy("DENY", dry_run=False))
    weft.agent.close()
    assert "Not counted" not in weft("authz", "list", "shop/pay").err
