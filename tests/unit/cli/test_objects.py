from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from weft.cli import kinds, objects, output
from weft.cli.client import Client, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.weft_cli import Weft


def test_an_object_that_is_not_there_is_none_and_other_refusals_are_not_hidden(weft: Weft) -> None:
    client, kind = Client(str(weft.control.path)), kinds.find("svc")
    assert objects.exists(client, kind, "default", "a") is None
    weft.control.answers["GET /api/v1/namespaces/default/services/a"] = (500, {"message": "oops"})
    with pytest.raises(Refused):
        objects.exists(client, kind, "default", "a")
    weft.control.answers["GET /api/v1/namespaces/default/services/a"] = {"kind": "Service"}
    assert objects.exists(client, kind, "default", "a") == {"kind": "Service"}


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (None, ""),
        ({"conditions": [{"type": "Programmed", "status": "True"}]}, "True"),
        ({"conditions": [{"type": "Programmed", "status": "False", "reason": "Invalid"}]}, "False (Invalid)"),
        ({"conditions": [{"type": "Accepted", "status": "True"}]}, ""),
    ],
)
def test_a_condition_says_its_reason_when_it_is_bad(status: object, text: str) -> None:
    assert objects.condition({"status": status}, "Programmed") == text


def test_the_worst_parent_counts() -> None:
    good = {"conditions": [{"type": "Accepted", "status": "True"}]}
    bad = {"conditions": [{"type": "Accepted", "status": "False", "reason": "NotAllowed"}]}
    assert objects.condition({"status": {"parents": [good, bad]}}, "Accepted") == "False (NotAllowed)"


def test_ages_count_from_both_kinds_of_times() -> None:
    then = datetime.now(UTC) - timedelta(hours=5)
    assert objects.elapsed(then.strftime("%Y-%m-%dT%H:%M:%SZ")) == "5h"
    assert objects.elapsed(then.timestamp()) == "5h"
    assert objects.elapsed("") == ""


def test_every_kinds_columns_stand_an_object_that_says_little() -> None:
    item = {"kind": "X", "metadata": {"name": "a"}, "spec": {}}
    for kind in ("Service", "HTTPRoute", "Gateway", "GatewayClass", "Mesh", "Namespace"):
        lines = output.table([item], objects.columns(kind, everywhere=True), wide=True).splitlines()
        assert len(lines) == 2


def row(kind: str, spec: Mapping[str, object], **annotations: str) -> list[str]:
    item = {"metadata": {"name": "a", "annotations": annotations}, "spec": spec}
    return [output.cell(each.value(item)) for each in objects.COLUMNS[kind]]


def test_columns_say_what_a_policy_does_and_for_whom() -> None:
    selector = {"matchLabels": {"app": "pay"}}
    until = (datetime.now(UTC) + timedelta(hours=5, minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    tried = {"istio.io/dry-run": "true", "weft.dev/expires": until}
    assert row("AuthorizationPolicy", {}) == ["ALLOW", "all", "0", "-"]
    spec = {"action": "DENY", "selector": selector, "rules": [{}]}
    assert row("AuthorizationPolicy", spec, **tried) == ["DENY (dry run)", "app=pay", "1", "5h"]
    assert row("PeerAuthentication", {}) == ["UNSET", "all", "-"]
    ports = {"mtls": {"mode": "STRICT"}, "portLevelMtls": {8080: {"mode": "DISABLE"}}, "selector": selector}
    assert row("PeerAuthentication", ports) == ["STRICT", "app=pay", "8080=DISABLE"]
    rules = {"jwtRules": [{"issuer": "https://a"}], "targetRefs": [{"kind": "Service", "name": "pay"}]}
    assert row("RequestAuthentication", rules) == ["https://a", "service/pay"]


def test_columns_say_what_a_gateway_and_a_mesh_are() -> None:
    gateway = {
        "metadata": {"name": "edge"},
        "spec": {"gatewayClassName": "weft", "listeners": [{"port": 80}]},
        "status": {
            "addresses": [
                {"type": "IPAddress", "value": "127.0.0.1"},
                {"type": "weft.dev/url", "value": "http://127.0.0.1:8080"},
            ]
        },
    }
    assert "edge   weft    http://127.0.0.1:8080   -" in output.table(
        [gateway], objects.columns("Gateway", everywhere=False)
    )
    mesh = {"metadata": {"name": "shop"}, "spec": {"services": {"b": {}, "a": {}}}}
    assert "shop   a,b" in output.table([mesh], objects.columns("Mesh", everywhere=False))
    service = {"metadata": {"name": "s"}, "spec": {"selector": {"app": "s"}}}
    assert "app=s" in output.table([service], objects.columns("Service", everywhere=False), wide=True)
