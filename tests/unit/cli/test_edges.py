from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from weft.agent.edges import IN_THE_CLEAR
from weft.cli import edges

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft


def edge(caller: str = "default/front-v1-0", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    made = {"caller": caller, "callee": "back.default", "port": 80, "requests": 2, "connections": 1}
    return {**made, "secured": "mTLS", "why": "", "since": time.time() - 60, **changes}


def test_edges_are_shown_with_what_is_not_secured(weft: Weft) -> None:
    plain = edge("(no identity)", callee="default/back-v1-0", requests=0, secured="no", why="came without a proxy")
    weft.agent.answers["GET /v1/edges"] = {"items": [edge(), plain]}
    ran = weft("edges")
    lines = ran.out.splitlines()
    assert lines[1].split()[:5] == ["front-v1-0", "back:80", "2", "1", "mTLS"]
    assert "2 edges, 1 not secured" in ran.err
    assert max(map(len, lines)) <= 80
    assert len(weft("edges", "--insecure").out.splitlines()) == 2
    assert "came without" in weft("edges", "-o", "wide").out
    assert weft("edges", "front-v1-0", "-o", "name").out == "default/front-v1-0 back.default\n"


def test_instances_that_take_over_from_one_another_are_one(weft: Weft) -> None:
    weft.agent.answers["GET /v1/edges"] = {"items": [edge(), edge("default/front-v1-0~1", since=5.0)]}
    (row,) = edges.merged([edge(), edge("default/front-v1-0~1", since=5.0)])
    assert (row["caller"], row["requests"], row["since"]) == ("default/front-v1-0", 4, 5.0)
    assert weft("edges").err.startswith("1 edge, 0")


def test_why_a_call_goes_in_the_clear_is_asked_of_control(weft: Weft) -> None:
    plain = edge(secured="no", why=IN_THE_CLEAR)
    weft.agent.answers["GET /v1/edges"] = {"items": [plain, edge(callee="x.default", secured="no", why="other")]}
    ports = [{"number": 80, "shape": "plain", "why": "nothing behind it has a proxy"}]
    weft.control.answers["GET /weft/v1/services"] = {
        "items": [
            {"name": "back", "namespace": "default", "ports": [*ports, {"number": 81, "shape": "raw", "why": ""}]}
        ]
    }
    said = weft("edges").err
    assert "front-v1-0 -> back:80 is not secured: nothing behind it has a proxy" in said
    assert "front-v1-0 -> x:80 is not secured: other" in said
    weft.control.close()
    assert IN_THE_CLEAR in weft("edges").err


def test_nothing_seen_is_said(weft: Weft) -> None:
    weft.agent.answers["GET /v1/edges"] = {"items": []}
    assert "Nobody has called anybody yet." in weft("edges").err


def test_that_everything_seen_is_secured_is_another_thing_than_nothing_seen(weft: Weft) -> None:
    weft.agent.answers["GET /v1/edges"] = {"items": [edge(), edge(callee="x.default")]}
    assert weft("edges").err == "2 edges, 0 not secured: mode STRICT would refuse none of them\n"
    assert weft("edges", "--insecure").err == "None of the 2 edges that were seen.\n"
    assert weft("edges", "nobody").err == "None of the 2 edges that were seen.\n"


def test_callers_of_a_service_are_found_and_nobody_where_the_agent_is_away(weft: Weft) -> None:
    weft.agent.answers["GET /v1/edges"] = {"items": [edge(), edge("default/other-v1-0", callee="x.default")]}
    assert edges.callers("default/back") == ["front-v1-0"]
    weft.agent.close()
    assert edges.callers("default/back") == []
