from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

SOURCE = "AuthorizationPolicy/shop/pay"


def test_every_policy_is_listed_in_the_order_in_which_it_is_asked(weft: Weft) -> None:
    deny = {"source": SOURCE, "place": "p:1:1", "action": "DENY", "dryRun": True, "provider": "", "rules": [{}]}
    ask = {"source": SOURCE, "place": "p:1:1", "action": "CUSTOM", "dryRun": False, "provider": "opa", "rules": []}
    issuer = {"source": "RequestAuthentication/shop/jwt", "place": "", "issuer": "https://i", "keys": False}
    item = {
        "port": 80,
        "mode": "STRICT",
        "modeSource": "",
        "modePlace": "",
        "issuers": [issuer],
        "policies": [ask, deny],
    }
    weft.control.answers["GET /weft/v1/authz/shop/pay"] = {
        "name": "shop/pay",
        "identities": ["spiffe://local/ns/shop/sa/pay"],
        "default": "deny",
        "proxies": [],
        "items": [item, {**item, "port": 0, "issuers": [], "policies": []}],
    }
    ran = weft("authz", "list", "pay", "-n", "shop")
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[1:] == [
        ["80", "mTLS", "STRICT", "default"],
        ["80", "token", "https://i", "(no", "keys)", "RequestAuthentication/shop/jwt"],
        ["80", "CUSTOM", "0", "rules", "by", "opa", SOURCE],
        ["80", "DENY", "1", "rule,", "dry", "run", SOURCE],
        ["all", "mTLS", "STRICT", "default"],
    ]
    assert "nobody may call" in ran.err
    why = "weft describe requestauthentication/jwt -n shop"
    assert ran.err.splitlines()[-1] == f"Every token of https://i is refused, for its keys were never had. Why: {why}"
    assert weft("authz", "list", "shop/pay", "-o", "json").code == 0


def test_where_everybody_may_call_it_is_said(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/authz/default/pay"] = {
        "name": "default/pay",
        "identities": [],
        "default": "allow",
        "proxies": ["default/pay-v1-0"],
        "items": [],
    }
    assert "everybody may call. Identity: none" in weft("authz", "list", "pay").err


def test_where_nothing_is_enforced_it_is_said(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/authz/default/pay"] = {
        "name": "default/pay",
        "identities": [],
        "default": "deny",
        "proxies": [],
        "items": [],
    }
    assert "Nothing stands in front of it" in weft("authz", "list", "pay").err
