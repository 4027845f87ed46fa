from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from weft.cli.can import claims_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.weft_cli import Weft

RULE = "AuthorizationPolicy/default/pay/rules/0"
STEP = {"stage": "DENY", "outcome": "denied", "why": "a DENY rule holds", "source": RULE, "place": "p.yaml:7:5"}


def answer(verdict: str = "denied", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    callee = {"name": "default/pay", "workload": "default/pay-v1-0", "port": 8080, "protocol": "http", "shape": "http"}
    return {
        "verdict": verdict,
        "source": RULE,
        "place": "p.yaml:7:5",
        "reason": "a DENY rule holds",
        "differs": False,
        "caller": {"name": "cart", "identities": ["spiffe://local/ns/default/sa/cart"]},
        "callee": {**callee, "mode": "STRICT", "modeSource": ""},
        "steps": [{**STEP, "dryRun": False}],
        **changes,
    }


def test_a_denied_call_names_the_rule_its_place_and_the_mode(weft: Weft) -> None:
    weft.control.answers["POST /weft/v1/can"] = answer()
    ran = weft("can", "cart", "pay:80", "--method", "POST", "--path", "/x", "--header", "X-A: b", "--host", "pay")
    assert ran.code == 3
    assert ran.out.splitlines() == [
        "denied  cart -> pay:80 POST /x",
        "  why   a DENY rule holds",
        f"  by    {RULE}",
        "  at    p.yaml:7:5",
        "  to    default/pay-v1-0 port 8080 (http), shape http",
        "  mode  STRICT, by default",
        "  as    spiffe://local/ns/default/sa/cart",
    ]
    asked = json.loads(weft.control.asked("POST", "/weft/v1/can").body)
    assert (asked["callee"], asked["headers"], asked["host"]) == ("pay:80", [["X-A", "b"]], "pay")
    assert max(map(len, ran.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("stage", "caller", "words"),
    [
        ("ALLOW", "cart", "weft allow cart pay lets it"),
        ("default", "cart", "weft allow cart pay lets it"),
        ("ban", "cart", "weft unban cart"),
        ("mutual TLS", "-", "run the caller in the mesh"),
        ("ALLOW", "-", ""),
        ("DENY", "cart", ""),
    ],
)
def test_a_denied_call_comes_with_the_next_step(weft: Weft, stage: str, caller: str, words: str) -> None:
    steps = [{**STEP, "stage": "DENY", "dryRun": True}, {**STEP, "stage": stage, "dryRun": False}]
    weft.control.answers["POST /weft/v1/can"] = answer(steps=steps)
    found = [line for line in weft("can", caller, "pay").out.splitlines() if line.startswith("  next")]
    assert len(found) == bool(words)
    assert words in "".join(found)
    weft.control.answers["POST /weft/v1/can"] = answer("allowed", steps=steps)
    assert "  next" not in weft("can", caller, "pay").out


def test_an_allowed_call_is_exit_code_0_and_an_open_question_is_not(weft: Weft) -> None:
    weft.control.answers["POST /weft/v1/can"] = answer("allowed")
    assert weft("can", "cart", "pay", "-o", "name") == (0, "allowed\n", "")
    weft.control.answers["POST /weft/v1/can"] = answer("unknown")
    ran = weft("can", "-", "pay", "-o", "json")
    assert (ran.code, json.loads(ran.out)["verdict"]) == (3, "unknown")
    assert json.loads(weft.control.asked("POST", "/weft/v1/can").body)["caller"] == ""


def test_every_step_what_is_tried_out_and_what_differs_are_shown(weft: Weft) -> None:
    tried = {**STEP, "dryRun": True}
    nobody = {"name": "plain", "identities": [""]}
    weft.control.answers["POST /weft/v1/can"] = answer(steps=[tried], differs=True, caller=nobody)
    out = weft("can", "plain", "pay", "-o", "wide").out
    assert f"tries {RULE}: would be denied" in out
    assert "nobody: its calls go by no proxy" in out
    assert "this is the worst" in out
    assert "STAGE" in out


def test_a_token_comes_from_a_file(weft: Weft, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" a.b.c\n")
    weft.control.answers["POST /weft/v1/can"] = answer()
    weft("can", "cart", "pay", "--jwt", str(tmp_path / "token"))
    assert json.loads(weft.control.asked("POST", "/weft/v1/can").body)["jwt"] == "a.b.c"
    assert weft("can", "cart", "pay", "--jwt", str(tmp_path / "none")).code == 2


@pytest.mark.parametrize(
    "words", [["--header", "x"], ["--claim", "x"], ["--claim", "a=b", "--jwt", "-"], ["--header", ":x"]]
)
def test_what_is_written_wrong_is_wrong_usage(weft: Weft, words: list[str]) -> None:
    assert weft("can", "cart", "pay", *words).code == 2


@pytest.mark.parametrize("words", [["--path", "admin"], ["--method", "GE T"], ["--method", ""]])
def test_what_no_request_can_have_is_wrong_usage(weft: Weft, words: list[str]) -> None:
    weft.control.answers["POST /weft/v1/can"] = answer()
    assert weft("can", "cart", "pay", *words).code == 2
    assert not weft.control.requests


def test_claims_may_be_nested_and_may_be_json() -> None:
    texts = ("sub=ann", 'realm.roles=["ops"]', "realm.id=7", "https://x.y/z=a")
    assert claims_of(texts) == {"sub": "ann", "realm": {"roles": ["ops"], "id": 7}, "https://x.y/z": "a"}


def test_the_address_of_a_client_is_passed_on(weft: Weft) -> None:
    weft.control.answers["POST /weft/v1/can"] = answer()
    weft("can", "-", "edge", "--from", "203.0.113.7")
    assert json.loads(weft.control.asked("POST", "/weft/v1/can").body)["ip"] == "203.0.113.7"
