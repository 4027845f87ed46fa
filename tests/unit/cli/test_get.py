from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"
ROUTE: dict[str, Any] = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "cart", "namespace": "default"},
    "spec": {"parentRefs": [{"kind": "Service", "name": "cart"}], "rules": [{}]},
    "status": {"parents": [{"conditions": [{"type": "Accepted", "status": "False", "reason": "NoMatchingParent"}]}]},
}


def test_a_table_shows_what_became_of_each_route(weft: Weft) -> None:
    weft.control.answers[f"GET {ROUTES}"] = {"items": [ROUTE]}
    ran = weft("get", "hr")
    assert ran.code == 0
    assert ran.out.splitlines()[1].split() == ["cart", "-", "service/cart", "1", "False", "(NoMatchingParent)", "-"]


def test_one_object_is_itself_and_several_are_a_list(weft: Weft) -> None:
    weft.control.answers[f"GET {ROUTES}/cart"] = ROUTE
    weft.control.answers[f"GET {ROUTES}"] = {"items": [{"metadata": ROUTE["metadata"]}]}
    assert json.loads(weft("get", "httproute/cart", "-o", "json").out) == ROUTE
    listed = json.loads(weft("get", "httproutes", "-o", "json").out)
    assert listed["kind"] == "List"
    assert listed["items"][0]["kind"] == "HTTPRoute"
    assert weft("get", "hr", "-o", "name").out == "httproute/cart\n"
    assert weft("get", "hr/cart", "-o", "jsonpath={.spec.parentRefs[0].name}").out == "cart\n"


def test_the_output_format_can_come_from_the_environment(weft: Weft, monkeypatch: Any) -> None:  # noqa: ANN401 - pytest's
    monkeypatch.setenv("WEFT_OUTPUT", "name")
    monkeypatch.setenv("WEFT_NAMESPACE", "shop")
    weft.control.answers["GET /apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes"] = {"items": [ROUTE]}
    assert weft("get", "hr").out == "httproute/cart\n"


def test_everything_is_one_table_for_each_kind(weft: Weft) -> None:
    service = {"kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 80, "name": "http"}]}}
    weft.control.answers |= {
        f"GET {path}": {"items": []}
        for path in (
            "/apis/discovery.k8s.io/v1/endpointslices",
            "/api/v1/namespaces",
            "/api/v1/serviceaccounts",
            "/apis/gateway.networking.k8s.io/v1/gatewayclasses",
            "/apis/gateway.networking.k8s.io/v1/gateways",
            "/apis/gateway.networking.k8s.io/v1beta1/referencegrants",
            "/apis/weft.dev/v1alpha1/meshes",
        )
    }
    weft.control.answers["GET /api/v1/services"] = {"items": [service]}
    weft.control.answers["GET /apis/gateway.networking.k8s.io/v1/httproutes"] = {"items": [ROUTE]}
    ran = weft("get", "all", "-A")
    assert "-           service/a   80 http" in ran.out
    assert "default     httproute/cart" in ran.out


def test_nothing_is_said_on_stderr(weft: Weft) -> None:
    weft.control.answers["GET /api/v1/namespaces/default/services"] = {"items": []}
    ran = weft("get", "svc")
    assert (ran.code, ran.out) == (0, "")
    assert "Everywhere: -A" in ran.err
    assert "weft get mesh" in ran.err


def test_a_label_selects(weft: Weft) -> None:
    weft.control.answers[f"GET {ROUTES}"] = {"items": []}
    weft("get", "hr", "-l", "app=cart")
    assert weft.control.asked("GET", ROUTES).query == {"labelSelector": "app=cart"}


def test_a_watch_is_a_line_for_each_change(weft: Weft) -> None:
    events = [{"type": "ADDED", "object": ROUTE}, {"type": "BOOKMARK", "object": {"kind": "Status", "metadata": {}}}]
    other = {**ROUTE, "metadata": {"name": "other"}}
    events += [{"type": "MODIFIED", "object": other}, {"type": "DELETED", "object": ROUTE}]
    weft.control.answers[f"GET {ROUTES}"] = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    lines = weft("get", "hr", "cart", "-w").out.splitlines()
    assert [line.split()[0] for line in lines] == ["EVENT", "added", "deleted"]
    assert weft("get", "hr", "-w", "-o", "name").out.splitlines() == [
        "httproute/cart",
        "httproute/other",
        "httproute/cart",
    ]


def test_a_watch_of_everything_and_a_name_everywhere_are_wrong_usage(weft: Weft) -> None:
    assert weft("get", "all", "-w").code == 2
    assert weft("get", "hr/cart", "-A").code == 2


def test_an_object_that_is_not_there_is_a_problem(weft: Weft) -> None:
    ran = weft("get", "hr/nope")
    assert ran.code == 1
    assert "WFT-1704" in ran.err
