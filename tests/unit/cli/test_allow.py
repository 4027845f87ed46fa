from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from weft.cli.allow import allowing, parted

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

REF = {"group": "security.istio.io", "kind": "AuthorizationPolicy", "namespace": "default", "name": "allow-ops-pay"}


def decided(verdict: str = "allowed", stage: str = "ALLOW", identity: str = "spiffe://local/ns/default/sa/ops") -> Any:  # noqa: ANN401
    return {
        "verdict": verdict,
        "source": "AuthorizationPolicy/default/no",
        "reason": "a DENY rule holds",
        "caller": {"identities": [identity], "workloads": ["default/ops"]},
        "callee": {"name": "default/pay", "port": 8080},
        "steps": [{"stage": stage}],
    }


def guards(*actions: str, default: str = "allow") -> dict[str, Any]:
    policies = [{"source": f"p/{action}", "action": action, "dryRun": False} for action in actions]
    return {"selector": {"app": "pay"}, "default": default, "items": [{"policies": policies}]}


def answering(weft: Weft, found: Any, *answers: Any) -> None:  # noqa: ANN401 - JSON
    weft.control.answers["POST /weft/v1/can"] = list(answers or (decided(),))
    weft.control.answers["GET /weft/v1/authz/default/pay"] = found
    results = [{"ref": REF, "verb": "created"}]
    weft.control.answers["POST /weft/v1/apply"] = {"results": results, "problems": [], "revision": 1}
    weft.control.answers["GET /weft/v1/problems"] = {"revision": 1, "problems": []}
    weft.agent.answers["GET /v1/edges"] = {
        "items": [
            {"caller": "default/cart-v1-0", "callee": "pay.default"},
            {"caller": "default/ops", "callee": "pay.default"},
        ]
    }


def applied(weft: Weft) -> Any:  # noqa: ANN401 - JSON
    return json.loads(weft.control.asked("POST", "/weft/v1/apply").body)


def test_a_caller_is_allowed_for_a_while_with_a_reason(weft: Weft) -> None:
    answering(weft, guards("ALLOW"))
    ran = weft("allow", "ops -> pay", "--for", "30m", "--reason", "incident 7", "--method", "GET", "--path", "/a*")
    assert (ran.code, ran.out) == (0, "authorizationpolicy/allow-ops-pay created\n")
    made = applied(weft)
    (rule,) = made["spec"]["rules"]
    assert rule["from"] == [{"source": {"principals": ["local/ns/default/sa/ops"]}}]
    assert rule["to"] == [{"operation": {"methods": ["GET"], "paths": ["/a*"]}}]
    assert made["spec"]["selector"] == {"matchLabels": {"app": "pay"}}
    annotations = made["metadata"]["annotations"]
    assert annotations["weft.dev/reason"] == "incident 7"
    left = datetime.fromisoformat(annotations["weft.dev/expires"]) - datetime.now(UTC)
    assert 1700 < left.total_seconds() <= 1800
    assert "It is deleted at" in ran.err


def test_what_never_ends_says_so_and_no_time_at_all_is_wrong_usage(weft: Weft) -> None:
    answering(weft, guards("ALLOW"))
    assert weft("allow", "ops", "pay", "--for", "0s").code == 2
    assert "It holds until it is deleted" in weft("allow", "ops", "pay").err


def test_the_first_allow_policy_is_refused_and_says_whom_it_would_deny(weft: Weft) -> None:
    answering(weft, guards("DENY"))
    ran = weft("allow", "ops", "pay")
    assert ran.code == 1
    assert "WFT-1712" in ran.err
    assert "among them cart-v1-0," in ran.err
    assert not [each for each in weft.control.requests if each.path == "/weft/v1/apply"]


def test_only_closes_it_and_says_what_happens_afterwards(weft: Weft) -> None:
    answering(weft, guards())
    ran = weft("allow", "ops", "pay:80", "--only", "--for", "1h")
    assert ran.code == 0
    assert "from then on everybody may call again" in ran.err
    made = applied(weft)
    assert made["spec"]["rules"][0]["to"] == [{"operation": {"ports": ["8080"]}}]
    assert made["metadata"]["name"].startswith("allow-ops-pay-")


def test_where_the_mesh_denies_by_default_nothing_is_closed(weft: Weft) -> None:
    answering(weft, guards(default="deny"))
    assert weft("allow", "ops", "pay", "--dry-run").code == 0
    assert weft.control.asked("POST", "/weft/v1/apply").query["dryRun"] == "true"
    assert "annotations" not in applied(weft)["metadata"]


def test_a_deny_policy_that_still_holds_is_said(weft: Weft) -> None:
    answering(weft, guards("ALLOW"), decided(), decided("denied", "DENY"))
    assert "it is still denied: a DENY rule holds" in weft("allow", "ops", "pay").err


def test_a_caller_without_an_identity_cannot_be_allowed(weft: Weft) -> None:
    answering(weft, guards("ALLOW"), decided(identity=""))
    ran = weft("allow", "plain", "pay")
    assert (ran.code, "WFT-1713" in ran.err) == (1, True)


def test_the_policy_can_be_had_as_a_manifest(weft: Weft) -> None:
    answering(weft, guards("ALLOW"))
    ran = weft("allow", "ops", "pay", "--dry-run", "-o", "json")
    assert json.loads(ran.out)["kind"] == "AuthorizationPolicy"


@pytest.mark.parametrize(
    "words", [("ops", "pay"), ("ops -> pay",), ("ops->pay",), ("ops", "->", "pay"), ("ops → pay",)]
)
def test_an_arrow_may_stand_between_the_two(words: tuple[str, ...]) -> None:
    assert parted(words) == ("ops", "pay")


@pytest.mark.parametrize("words", [("ops", "-"), ("ops",), ("a", "b", "c"), ("a -> b -> c",), ("-> a",)])
def test_what_names_no_two_is_wrong_usage(weft: Weft, words: tuple[str, ...]) -> None:
    assert weft("allow", "--", *words).code == 2


def test_a_port_is_a_number(weft: Weft) -> None:
    assert weft("allow", "ops", "pay:http").code == 2


def test_a_policy_counts_when_it_stands_at_every_port() -> None:
    one = guards("ALLOW")["items"][0]
    assert allowing({"items": [one, {"policies": []}]}) == []
    assert allowing({"items": [one, one]}) == ["p/ALLOW"]
    assert allowing({"items": []}) == []
