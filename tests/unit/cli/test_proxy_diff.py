from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

NODE = "sidecar/default/a-v1-0"


def answers(weft: Weft, version: str) -> None:
    weft.control.answers["GET /weft/v1/proxies"] = {"items": [{"node": NODE}]}
    weft.control.answers[f"GET /weft/v1/proxies/{NODE}/resources"] = {
        "items": [{"type": "Cluster", "name": "b", "version": "2", "source": "Service/b", "resource": {"name": "b"}}]
    }
    cluster = {"version_info": version, "cluster": {"name": "b"}}
    weft.agent.answers["GET /v1/proxies/default/a-v1-0/admin/config_dump"] = {
        "configs": [{"@type": "x.ClustersConfigDump", "dynamic_active_clusters": [cluster]}]
    }


def test_equal_is_told_with_how_much_was_compared(weft: Weft) -> None:
    answers(weft, "2")
    assert weft("proxy", "diff", "a-v1-0") == (0, "", "OK, a-v1-0 runs what it should: 1 resources compared.\n")


def test_a_difference_is_a_finding(weft: Weft) -> None:
    answers(weft, "1")
    ran = weft("proxy", "diff", "a-v1-0")
    assert ran.code == 3
    assert ran.out.splitlines()[1].split() == ["different", "Cluster", "b", "Service/b"]
