from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

CLUSTER = {
    "type_url": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "state": "SYNCED",
    "seconds": 65.0,
    "held": 3,
    "subscribed": 3,
    "wildcard": False,
    "withheld": 0,
    "refusals": [],
}
LISTENER = CLUSTER | {"type_url": "type.googleapis.com/envoy.config.listener.v3.Listener", "seconds": 5.0}


def node(name: str, *types: dict[str, Any], **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
    made = {"node": f"sidecar/default/{name}", "connected": True, "seconds": 9.0, "streams": 1, "state": "SYNCED"}
    return {**made, "types": list(types), **fields}


def test_each_proxy_is_one_line(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/proxies"] = {"items": [node("a-v1-0", CLUSTER, LISTENER), node("b-v1-0")]}
    ran = weft("proxy", "status")
    assert ran.code == 0
    assert [line.split() for line in ran.out.splitlines()[1:]] == [
        ["a-v1-0", "SYNCED", "-", "SYNCED", "-", "-", "5s"],
        ["b-v1-0", "-", "-", "-", "-", "-", "9s"],
    ]


def test_one_proxy_is_one_line_for_each_type(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/proxies"] = {"items": [node("a-v1-0", CLUSTER, LISTENER), node("b-v1-0")]}
    lines = weft("proxy", "status", "a-v1-0").out.splitlines()
    assert lines[1].split() == ["a-v1-0", "Cluster", "SYNCED", "3", "1m5s", "-"]
    assert len(lines) == 3


def test_a_refusal_is_shown_with_the_proxys_own_words_and_is_a_finding(weft: Weft) -> None:
    refused = CLUSTER | {"state": "REFUSED", "refusals": [{"name": "outbound|80||a", "detail": "no such thing"}]}
    weft.control.answers["GET /weft/v1/proxies"] = {"items": [node("a-v1-0", refused)]}
    ran = weft("proxy", "status")
    assert ran.code == 3
    assert "outbound|80||a: no such thing" in ran.out


def test_withheld_removals_and_lost_proxies_are_told(weft: Weft) -> None:
    withheld = CLUSTER | {"state": "STALE", "withheld": 12}
    lost = node("b-v1-0", CLUSTER, connected=False, streams=0)
    weft.control.answers["GET /weft/v1/proxies"] = {"items": [node("a-v1-0", withheld), lost]}
    ran = weft("proxy", "status")
    assert ran.code == 0
    assert "12 removals are withheld" in ran.out
    assert "DISCONNECTED" in ran.out


def test_programs_get_everything(weft: Weft) -> None:
    items = [node("a-v1-0", CLUSTER)]
    weft.control.answers["GET /weft/v1/proxies"] = {"items": items}
    assert json.loads(weft("proxy", "status", "-o", "json").out)["items"] == items
    assert "STREAMS" in weft("proxy", "status", "-o", "wide").out
