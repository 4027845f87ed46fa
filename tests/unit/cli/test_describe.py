from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.cli.test_get import CART

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

PATH = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/cart"
ITEM = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "cart", "namespace": "default", "labels": {"a": "b"}, "uid": "123", "generation": 2},
    "spec": {"rules": []},
    "status": {
        "conditions": [{"type": "Programmed", "status": "True", "reason": "Programmed"}],
        "parents": [
            {"parentRef": {"name": "cart"}, "conditions": [{"type": "Accepted", "status": "True", "reason": "Ok"}]}
        ],
    },
}
REF = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default", "name": "cart"}


def test_an_object_is_shown_with_its_conditions_problems_and_changes(weft: Weft) -> None:
    problem = {"code": "WFT-1203", "message": "no backend", "remedy": "Add it", "origin": {"source": "a.yaml"}}
    weft.control.answers[f"GET {PATH}"] = ITEM
    weft.control.answers["GET /weft/v1/problems"] = {
        "problems": [problem | {"ref": REF}, problem | {"ref": REF | {"name": "other"}, "message": "elsewhere"}]
    }
    change = {
        "revision": 4,
        "time": "2026-01-01T00:00:00Z",
        "owner": "cli",
        "who": "ann",
        "verb": "created",
        "ref": REF,
    }
    weft.control.answers["GET /weft/v1/history"] = {"items": [change]}
    ran = weft("describe", "hr/cart")
    assert ran.code == 0
    for part in ("Name:       cart", "labels:", "rules: []", "Accepted     cart   True", "WFT-1203", "cli   created"):
        assert part in ran.out
    assert "123" not in ran.out
    assert "elsewhere" not in ran.out
    assert weft.control.asked("GET", "/weft/v1/history").query == {"ref": "HTTPRoute/default/cart"}


def test_an_object_without_history_or_status_is_shown_too(weft: Weft) -> None:
    weft.control.answers["GET /api/v1/namespaces/default/services/a"] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a"},
    }
    weft.control.answers["GET /weft/v1/problems"] = {"problems": []}
    weft.control.answers["GET /weft/v1/history"] = {"items": []}
    weft.control.answers["GET /weft/v1/services"] = {"items": []}
    assert weft("describe", "svc", "a").out == "Name:       a\nKind:       Service (v1)\n"


def test_a_service_says_how_its_ports_are_reached_and_why(weft: Weft) -> None:
    meta = {"name": "a", "namespace": "default"}
    item = {"apiVersion": "v1", "kind": "Service", "metadata": meta}
    weft.control.answers["GET /api/v1/namespaces/default/services/a"] = item
    weft.control.answers["GET /weft/v1/problems"] = {"problems": []}
    weft.control.answers["GET /weft/v1/history"] = {"items": []}
    port = {
        "number": 80,
        "name": "http",
        "protocol": "http",
        "shape": "http",
        "why": "AuthorizationPolicy/default/p/rules/0",
    }
    weft.control.answers["GET /weft/v1/services"] = {"items": [{"name": "a", "ports": [port]}]}
    said = weft("describe", "svc", "a").out
    assert "80     http    mutual TLS and HTTP/2 between the proxies   AuthorizationPolicy/default/p/rules/0" in said


def test_a_service_that_a_mesh_declares_is_described_as_it_is(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/problems"] = {"problems": []}
    weft.control.answers["GET /weft/v1/services"] = {"items": [CART]}
    ran = weft("describe", "svc/cart")
    assert ran.code == 0
    assert "source: Mesh/default/shop/services/cart" in ran.out
    assert weft("describe", "svc/crat").code == 1
