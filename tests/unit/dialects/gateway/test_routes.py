from __future__ import annotations

from tests.support.documents import accepted
from weft.api.httproute import HTTPRoute
from weft.dialects.gateway.routes import RouteSpec, read_route
from weft.names import ServiceKey
from weft.values import Ref


def spec(text: str) -> RouteSpec:
    made = accepted(
        f"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r, namespace: shop}}\nspec: {text}\n"
    )
    assert isinstance(made, HTTPRoute)
    return read_route(Ref("gateway.networking.k8s.io", "HTTPRoute", "shop", "r"), made)


def test_a_parent_is_filled_in_and_its_status_repeats_what_was_written() -> None:
    (parent,) = spec("{parentRefs: [{name: edge}]}").parents
    assert (parent.group, parent.kind, parent.namespace) == ("gateway.networking.k8s.io", "Gateway", "shop")
    assert (parent.written.group, parent.written.kind, parent.written.namespace) == (None, None, None)


def test_a_route_knows_every_service_that_it_refers_to() -> None:
    found = spec(
        "{parentRefs: [{group: '', kind: Service, name: a}, {name: edge}], rules: [{backendRefs: [{name: b, port: 80},"
        " {group: x.example, kind: Y, name: z}], filters: [{type: RequestMirror,"
        " requestMirror: {backendRef: {name: c, namespace: far, port: 80}}}]}]}"
    )
    assert list(found.services()) == [ServiceKey("shop", "a"), ServiceKey("shop", "b"), ServiceKey("far", "c")]


def test_provenance_is_the_object_and_the_rules_place() -> None:
    found = spec("{parentRefs: [{name: edge}], rules: [{}, {}]}")
    assert [rule.source for rule in found.rules] == ["HTTPRoute/shop/r/rules/0", "HTTPRoute/shop/r/rules/1"]
