from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from weft.cli.route import matches_something, share, split_route

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

HEADER = {
    "matches": [{"headers": [{"name": "end-user", "value": "tester"}]}],
    "backendRefs": [{"name": "reviews-v2", "port": 80}],
}
REST = {"backendRefs": [{"name": "reviews-v1", "port": 80}], "timeouts": {"request": "3s"}}
SERVICES = "GET /weft/v1/services"
ROUTE = "GET /apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/reviews"


def services(*ports: int) -> dict[str, Any]:
    """``reviews`` with its versions v1 and v2."""
    listed = [{"number": number, "name": "http", "protocol": "http"} for number in ports]
    return {"items": [{"name": name, "ports": listed} for name in ("reviews", "reviews-v1", "reviews-v2")]}


def test_rules_that_match_something_stay_and_the_one_for_everything_is_replaced() -> None:
    made = split_route("reviews", "default", 80, [("v1", 90), ("v2", 10)], [HEADER, REST])
    assert made["spec"]["rules"][0] == HEADER
    assert made["spec"]["rules"][1] == {
        "timeouts": {"request": "3s"},
        "backendRefs": [
            {"name": "reviews-v1", "port": 80, "weight": 90},
            {"name": "reviews-v2", "port": 80, "weight": 10},
        ],
    }


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        ({}, False),
        ({"matches": []}, False),
        ({"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}, False),
        ({"matches": [{"path": {"type": "PathPrefix", "value": "/a"}}]}, True),
        (HEADER, True),
    ],
)
def test_a_rule_for_everything_is_known_in_each_spelling(rule: dict[str, Any], answer: bool) -> None:
    assert matches_something(rule) is answer


@pytest.mark.parametrize("text", ["v1", "=1", "v1=", "v1=x", "v1=-1", "v1=1000001", "v1=²"])
def test_a_share_is_a_version_and_a_weight(text: str) -> None:
    assert share("v1=90") == ("v1", 90)
    with pytest.raises(click.UsageError):
        share(text)


def test_what_is_applied_is_printed(weft: Weft) -> None:
    ref = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default", "name": "reviews"}
    weft.control.answers |= {SERVICES: services(80), ROUTE: {"spec": {"rules": [HEADER, REST]}}}
    weft.control.answers["POST /weft/v1/apply"] = {
        "results": [{"ref": ref, "verb": "configured"}],
        "problems": [],
        "revision": 1,
    }
    ran = weft("route", "split", "reviews", "v1=90", "v2=10", "--dry-run")
    assert ran.code == 0
    assert ran.err == "httproute/reviews configured (dry run)\n"
    asked = weft.control.asked("POST", "/weft/v1/apply")
    (sent,) = json.loads(asked.body)["manifests"]
    assert sent["text"] == ran.out
    assert asked.query == {"owner": "cli", "dryRun": "true"}
    assert len(yaml.safe_load(ran.out)["spec"]["rules"]) == 2


def test_the_port_must_be_clear(weft: Weft) -> None:
    weft.control.answers[SERVICES] = services(80, 81)
    assert "80, 81: say --port" in weft("route", "split", "reviews", "v1=1").err


def test_a_version_that_the_service_does_not_have_is_refused_before_anything_is_applied(weft: Weft) -> None:
    weft.control.answers[SERVICES] = services(80)
    ran = weft("route", "split", "reviews", "v1=90", "v3=10")
    assert ran.code == 1
    assert "there is no service 'reviews-v3'" in ran.err
    assert ran.out == ""


def test_a_version_stands_once(weft: Weft) -> None:
    assert weft("route", "split", "reviews", "v1=1", "v1=2").code == 2
