"""Gateway, GatewayClass and ReferenceGrant."""

from __future__ import annotations

import pytest

from tests.support.documents import accepted, brief, decoded, refused
from weft.api.gateway import Gateway, GatewayClass, ReferenceGrant

GROUP = "apiVersion: gateway.networking.k8s.io/v1\n"
GATEWAY = GROUP + "kind: Gateway\nmetadata: {name: edge}\nspec:\n  gatewayClassName: weft\n  "
L = "spec.listeners[0]"


def problems(listener: str, rest: str = "") -> list[tuple[str, str]]:
    return brief(refused(GATEWAY + f"listeners: [{{name: a, port: 80, {listener}}}{rest}]\n"))


def test_a_listener_lets_routes_of_its_own_namespace_in_by_default() -> None:
    found = accepted(GATEWAY + "listeners: [{name: a, port: 80, protocol: HTTP}]\n")
    assert isinstance(found, Gateway)
    assert found.spec.listeners[0].allowed_routes.namespaces.from_ == "Same"


@pytest.mark.parametrize("protocol", ["HTTP", "TCP", "UDP", "example.com/quic"])
def test_every_protocol_name_of_the_specification_passes(protocol: str) -> None:
    accepted(GATEWAY + f"listeners: [{{name: a, port: 80, protocol: {protocol}}}]\n")


@pytest.mark.parametrize(
    ("listener", "problem"),
    [
        ("protocol: HTTP, tls: {mode: Passthrough}", ("WFT-1105", f"{L}.tls")),
        ("protocol: HTTPS", ("WFT-1104", f"{L}.tls")),
        ("protocol: TLS", ("WFT-1104", f"{L}.tls")),
        ("protocol: HTTPS, tls: {mode: Passthrough}", ("WFT-1105", f"{L}.tls.mode")),
        ("protocol: HTTPS, tls: {}", ("WFT-1104", f"{L}.tls.certificateRefs")),
        ("protocol: HTTPS, tls: {certificateRefs: [{name: a}], options: {a: b}}", ("WFT-1108", f"{L}.tls.options")),
        ("protocol: TCP, hostname: a.b", ("WFT-1105", f"{L}.hostname")),
        ("protocol: HTTP, hostname: '*'", ("WFT-1106", f"{L}.hostname")),
        ("protocol: 'h t'", ("WFT-1105", f"{L}.protocol")),
        (
            "protocol: HTTP, allowedRoutes: {namespaces: {from: Selector}}",
            ("WFT-1104", f"{L}.allowedRoutes.namespaces.selector"),
        ),
        (
            "protocol: HTTP, allowedRoutes: {namespaces: {selector: {}}}",
            ("WFT-1105", f"{L}.allowedRoutes.namespaces.selector"),
        ),
        (
            (
                "protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, "
                "selector: {matchExpressions: [{key: a, operator: In}]}}}"
            ),
            ("WFT-1105", f"{L}.allowedRoutes.namespaces.selector.matchExpressions[0].values"),
        ),
        (
            (
                "protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, "
                "selector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}}"
            ),
            ("WFT-1105", f"{L}.allowedRoutes.namespaces.selector.matchExpressions[0].values"),
        ),
    ],
)
def test_a_listener_that_contradicts_itself_is_refused(listener: str, problem: tuple[str, str]) -> None:
    assert problems(listener) == [problem]


def test_listeners_are_told_apart() -> None:
    assert problems("protocol: HTTP", ", {name: a, port: 81, protocol: HTTP}") == [
        ("WFT-1105", "spec.listeners[1].name")
    ]
    assert problems("protocol: HTTP", ", {name: b, port: 80, protocol: HTTP}") == [("WFT-1105", "spec.listeners[1]")]
    accepted(
        GATEWAY + "listeners: [{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP, hostname: x}]\n"
    )


@pytest.mark.parametrize(
    "field", ["allowedListeners: {}", "defaultScope: All", "tls: {}", "infrastructure: {parametersRef: {}}"]
)
def test_what_has_no_effect_here_is_refused(field: str) -> None:
    text = GATEWAY + f"listeners: [{{name: a, port: 80, protocol: HTTP}}]\n  {field}\n"
    assert [code for code, _ in brief(refused(text))] == ["WFT-1108"]


def test_a_gateway_needs_a_listener_and_distinct_addresses() -> None:
    assert brief(refused(GATEWAY + "listeners: []\n")) == [("WFT-1105", "spec.listeners")]
    text = "listeners: [{name: a, port: 80, protocol: HTTP}]\n  addresses: [{value: 1.2.3.4}, {value: 1.2.3.4}]\n"
    assert brief(refused(GATEWAY + text)) == [("WFT-1105", "spec.addresses[1].value")]


@pytest.mark.parametrize(
    ("address", "field"),
    [
        ("{value: 1.2.3.4}", ""),
        ("{value: '::1'}", ""),
        ("{type: Hostname, value: '*.example.com'}", ""),
        ("{type: Hostname}", ""),
        ("{type: example.com/pool, value: anything}", ""),
        ("{value: example.com}", ".value"),
        ("{type: Hostname, value: 1.2.3.4}", ".value"),
        ("{type: Ip, value: 1.2.3.4}", ".type"),
    ],
)
def test_an_address_is_of_its_type(address: str, field: str) -> None:
    text = GATEWAY + f"listeners: [{{name: a, port: 80, protocol: HTTP}}]\n  addresses: [{address}]\n"
    expected = [("WFT-1105", f"spec.addresses[0]{field}")] if field else []
    assert brief(decoded(text).problems) == expected


def test_labels_for_what_is_not_created_are_a_warning() -> None:
    found = decoded(GATEWAY + "listeners: [{name: a, port: 80, protocol: HTTP}]\n  infrastructure: {labels: {a: b}}\n")
    assert found.object is not None
    assert brief(found.problems) == [("WFT-1111", "spec.infrastructure")]


def test_a_class_names_its_controller() -> None:
    head = GROUP + "kind: GatewayClass\nmetadata: {name: weft}\nspec: "
    found = accepted(head + "{controllerName: weft.dev/gateway-controller}")
    assert isinstance(found, GatewayClass)
    misspelt = decoded(head + "{controllerName: weft.dev/gateway}")
    assert brief(misspelt.problems) == [("WFT-1111", "spec.controllerName")]
    assert misspelt.problems[0].remedy == "Write weft.dev/gateway-controller"
    assert brief(refused(head + "{controllerName: weft}")) == [("WFT-1105", "spec.controllerName")]
    text = "{controllerName: weft.dev/gateway, parametersRef: {group: example.com, kind: A, name: a}}"
    assert brief(refused(head + text)) == [("WFT-1108", "spec.parametersRef")]
    accepted(head + text.replace("weft.dev/gateway", "example.com/gateway"))


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_grant_has_both_sides(version: str) -> None:
    head = f"apiVersion: gateway.networking.k8s.io/{version}\nkind: ReferenceGrant\nmetadata: {{name: a}}\nspec: "
    text = (
        "{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: b}], to: [{group: '', kind: Service}]}"
    )
    found = accepted(head + text)
    assert isinstance(found, ReferenceGrant)
    assert found.spec.to[0].name is None
    assert brief(refused(head + "{}")) == [("WFT-1104", "spec.from"), ("WFT-1104", "spec.to")]
    assert brief(refused(head + "{from: [], to: []}")) == [("WFT-1105", "spec.from"), ("WFT-1105", "spec.to")]
