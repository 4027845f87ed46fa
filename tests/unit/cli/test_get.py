from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

POLICIES = ("peerauthentications", "authorizationpolicies", "requestauthentications")
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"
ROUTE: dict[str, Any] = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "cart", "namespace": "default"},
    "spec": {"parentRefs": [{"kind": "Service", "name": "cart"}], "rules": [{}]},
    "status": {"parents": [{"conditions": [{"type": "Accepted", "status": "False", "reason": "NoMatchingParent"}]}]},
}

CART: dict[str, Any] = {
    "namespace": "default",
    "name": "cart",
    "ports": [{"number": 80, "name": "http", "protocol": "http"}],
    "address": "240.0.0.1",
    "endpoints": {"ready": 1, "total": 2},
    "hosts": [],
    "external": [],
    "source": "Mesh/default/shop/services/cart",
}
BANK = CART | {"name": "bank", "hosts": ["api.bank.example"], "external": ["192.0.2.1:443"]}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"}, "spec": {"ports": [{"port": 80}]}}


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


def test_everything_is_one_table_for_each_kind_and_services_are_those_that_can_be_called(weft: Weft) -> None:
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
            *(f"/apis/security.istio.io/v1/{each}" for each in POLICIES),
            "/apis/access.smi-spec.io/v1alpha3/traffictargets",
            "/apis/specs.smi-spec.io/v1alpha4/httproutegroups",
            "/apis/specs.smi-spec.io/v1alpha4/tcproutes",
        )
    }
    weft.control.answers["GET /weft/v1/services"] = {"items": [CART]}
    weft.control.answers["GET /apis/gateway.networking.k8s.io/v1/httproutes"] = {"items": [ROUTE]}
    ran = weft("get", "all", "-A")
    assert "default     service/cart   80/http" in ran.out
    assert "default     cart   -" in ran.out


def test_nothing_is_said_on_stderr(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/services"] = {"items": []}
    ran = weft("get", "svc")
    assert (ran.code, ran.out) == (0, "")
    assert "Everywhere: -A" in ran.err


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


def test_services_are_all_that_can_be_called(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/services"] = {"items": [BANK, CART]}
    _, bank, cart = weft("get", "services").out.splitlines()
    assert cart.split() == ["cart", "80/http", "1/2", "Mesh/default/shop/services/cart"]
    assert bank.split()[2] == "external"
    assert "192.0.2.1:443" in weft("get", "svc", "-o", "wide").out
    assert weft("get", "svc", "-o", "name").out == "service/bank\nservice/cart\n"
    assert json.loads(weft("get", "svc", "-o", "json").out) == {"items": [BANK, CART]}
    assert weft.control.asked("GET", "/weft/v1/services").query == {"namespace": "default"}


def test_a_service_that_somebody_wrote_is_shown_as_written_and_any_other_as_it_is(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/services"] = {"items": [BANK, CART]}
    assert json.loads(weft("get", "service/cart", "-o", "json").out) == CART
    weft.control.answers["GET /api/v1/namespaces/default/services/cart"] = SERVICE
    assert json.loads(weft("get", "service/cart", "-o", "json").out) == SERVICE
    assert weft("get", "service/cart").out.splitlines()[1].split()[:2] == ["cart", "80/http"]


def test_a_service_that_nobody_has_is_answered_with_the_nearest(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/services"] = {"items": [BANK, CART]}
    ran = weft("get", "svc", "crat", "-o", "yaml")
    assert ran.code == 1
    assert "Did you mean cart?" in ran.err


def test_a_label_selects_service_objects(weft: Weft) -> None:
    weft.control.answers["GET /api/v1/namespaces/default/services"] = {"items": [SERVICE]}
    assert weft("get", "svc", "-l", "app=cart").out.splitlines()[1].split()[:2] == ["cart", "80"]
