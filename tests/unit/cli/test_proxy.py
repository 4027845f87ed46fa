from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weft.cli import proxy
from weft.cli.client import Client, Failed

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

NODES = ("sidecar/default/front-v1-0", "sidecar/shop/cart-v1-0", "gateway/default/edge")


@pytest.fixture
def control(weft: Weft) -> Client:
    weft.control.answers["GET /weft/v1/proxies"] = {"items": [{"node": node} for node in NODES]}
    return Client(str(weft.control.path))


@pytest.mark.parametrize(
    ("workload", "namespace", "node"),
    [
        ("front-v1-0", "default", NODES[0]),
        ("cart-v1-0", "shop", NODES[1]),
        ("edge", "default", NODES[2]),
        (NODES[1], "default", NODES[1]),
    ],
)
def test_a_proxy_is_found_by_its_workload(control: Client, workload: str, namespace: str, node: str) -> None:
    assert proxy.node_of(control, workload, namespace) == node


@pytest.mark.parametrize(
    ("workload", "hint"), [("front", "front-v1-0"), ("edgee", "edge"), ("zzz", "weft proxy status")]
)
def test_an_unknown_proxy_is_answered_with_what_is_near(control: Client, workload: str, hint: str) -> None:
    with pytest.raises(Failed, match=hint):
        proxy.node_of(control, workload, "default")


def test_there_are_four_verbs_and_no_others(weft: Weft) -> None:
    listed = weft("proxy", "--help").out
    assert all(f"\n  {verb} " in listed for verb in ("status", "config", "diff", "log"))
    assert weft("proxy", "stats").code == 2
