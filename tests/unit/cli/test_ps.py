from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.weft_cli import process

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft


def show(weft: Weft, rows: list[dict[str, Any]], *arguments: str) -> tuple[int, str, str]:
    weft.agent.answers["GET /v1/processes"] = {"processes": rows}
    return weft("ps", *arguments)


def test_a_workload_is_shown_with_its_proxy_and_a_gateway_last(weft: Weft) -> None:
    rows = [
        process("edge", kind="gateway", state="running", ports=["80->8080"], urls=["http://127.0.0.1:8080"]),
        process("reviews-v1-0"),
        process("reviews-v1-0", kind="proxy", state="running", pid=7),
        process("control", kind="control", namespace=""),
    ]
    code, out, _ = show(weft, rows)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert lines[0] == ["NAME", "STATE", "PORTS", "RESTARTS", "PROXY", "AGE"]
    assert lines[1:] == [
        ["reviews-v1-0", "serving", "8080", "0", "running", "-"],
        ["edge", "running", "http://127.0.0.1:8080", "0", "-", "-"],
    ]
    assert json.loads(show(weft, rows, "-o", "json")[1])["items"][0]["proxy"]["pid"] == 7


def test_a_reason_has_its_column_when_there_is_one(weft: Weft) -> None:
    _, out, _ = show(weft, [process("a-v1-0", state="failing", reason="exit status 1")])
    assert "REASON" in out
    assert "exit status 1" in out


def test_namespaces_are_shown_when_there_are_several(weft: Weft) -> None:
    rows = [process("a-v1-0"), process("b-v1-0", namespace="shop")]
    assert show(weft, rows)[1].startswith("NAMESPACE")
    assert show(weft, rows, "b", "-n", "shop", "-o", "name")[1] == "b-v1-0\n"
    assert show(weft, rows[:1], "-A")[1].startswith("NAMESPACE")
    assert show(weft, rows[1:], "-n", "other")[1] == ""


def test_nothing_is_said_on_stderr(weft: Weft) -> None:
    code, out, err = show(weft, [])
    assert (code, out) == (0, "")
    assert "weft run" in err


def test_an_unknown_name_is_answered_with_the_nearest(weft: Weft) -> None:
    code, _, err = show(weft, [process("reviews-v1-0")], "revews")
    assert code == 1
    assert "Did you mean reviews" in err


def test_every_host_of_the_mesh_is_shown_with_what_runs_there(weft: Weft) -> None:
    port = {"state": "serving"}
    workloads = [
        {"namespace": "shop", "name": "web-v1-0", "placement": "sidecar", "capture": "proxy", "ports": [port, port]},
        {"namespace": "weft-system", "name": "anna", "placement": "egress", "capture": "none", "ports": []},
    ]
    weft.control.answers["GET /weft/v1/hosts"] = {
        "items": [
            {"host": "anna", "address": "10.0.0.1", "heardSecondsAgo": 1.2, "lost": False, "workloads": workloads},
            {"host": "bert", "address": "", "heardSecondsAgo": 99.0, "lost": True, "workloads": []},
        ]
    }
    code, out, _ = weft("ps", "--hosts")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert lines[1] == ["anna", "shop", "web-v1-0", "serving", "10.0.0.1", "1s", "ago"]
    assert (lines[2][0], "lost" in lines[2], len(lines)) == ("bert", True, 3)
    assert weft("ps", "--hosts", "web").code == 2
