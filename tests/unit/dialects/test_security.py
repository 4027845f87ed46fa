"""Policies in their place: scopes, targets, providers, statuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.support.compiled import codes, compiled, condition, gateway, objects, service, status, workload
from tests.support.policies import both, guard, istio, mesh, policy, sources
from weft.dialects.istio.authorization import Domains
from weft.dialects.policies import Scope
from weft.dialects.security import KINDS, Around, read_security, targeted
from weft.memo import Memo
from weft.model.trust import Action
from weft.names import ServiceKey

if TYPE_CHECKING:
    from weft.dialects.values import Compiled

EDGE = gateway("edge", "[{name: http, port: 80, protocol: HTTP}]")
OPA = mesh("{providers: {opa: {grpc: {service: opa, port: 80}}, ask: {http: {service: opa, port: 80}}}}")


def accepted(made: Compiled, name: str = "p", kind: str = "AuthorizationPolicy") -> tuple[str, str]:
    return condition(status(made, kind, name).conditions, "Accepted")


def test_a_policy_of_a_root_namespace_holds_everywhere() -> None:
    made = compiled(
        policy("all", "{}", "istio-system"),
        policy("ours", "{}", "weft-system"),
        policy("some", "{selector: {matchLabels: {app: a}}}", "istio-system"),
        policy("here", "{}"),
        EDGE,
        workloads=(both("a"), both("b", namespace="shop")),
    )
    assert sources(made, "a") == ["default/here", "istio-system/all", "istio-system/some", "weft-system/ours"]
    assert sources(made, "b", namespace="shop") == ["istio-system/all", "weft-system/ours"]
    edge = made.mesh.gateway_guards["default", "edge"]
    assert [each.source.partition("/")[2] for each in edge.policies] == [
        "default/here",
        "istio-system/all",
        "weft-system/ours",
    ]


def test_a_policy_may_be_attached_to_a_service_at_its_ports() -> None:
    made = compiled(
        service("echo"),
        policy("p", "{targetRefs: [{kind: Service, name: echo}]}"),
        workloads=(both("echo"), both("other")),
    )
    assert sources(made, "echo") == ["default/p"]
    assert sources(made, "echo", 6379) == []
    assert sources(made, "other") == []
    assert accepted(made) == ("True", "Accepted")


def test_a_policy_may_be_attached_to_a_gateway_and_then_holds_for_no_workload() -> None:
    made = compiled(
        EDGE,
        gateway("other", "[{name: http, port: 81, protocol: HTTP}]"),
        policy("p", "{targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}]}"),
        workloads=(both("echo"),),
    )
    assert [each.source for each in made.mesh.gateway_guards["default", "edge"].policies] == [
        "AuthorizationPolicy/default/p"
    ]
    assert made.mesh.gateway_guards["default", "other"].policies == ()
    assert sources(made, "echo") == []


def test_a_policy_may_be_attached_to_a_class_of_gateways_in_a_root_namespace() -> None:
    target = "{targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass, name: weft}]}"
    expose = mesh("{}", "{web: {port: 80, expose: {port: 8000}}}")
    made = compiled(EDGE, expose, policy("p", target, "weft-system"), policy("q", target), workloads=(both("echo"),))
    guards = made.mesh.gateway_guards
    assert [len(guards["default", name].policies) for name in ("edge", "exposed")] == [1, 1]
    assert codes(made) == ["WFT-1227"]
    assert accepted(made, "q") == ("False", "TargetNotFound")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("{kind: Service, name: ecoh}", "there is no Service default/ecoh"),
        ("{kind: Service, name: echo, namespace: shop}", "cannot be attached to anything in shop"),
        ("{kind: Service, name: outside}", "selects no workloads"),
        ("{group: gateway.networking.k8s.io, kind: Gateway, name: egde}", "there is no Gateway default/egde"),
    ],
)
def test_a_target_that_is_not_there_holds_nowhere(target: str, said: str) -> None:
    head = "apiVersion: v1\nkind: Service\nmetadata: {name: outside}\n"
    outside = f"{head}spec: {{type: ExternalName, externalName: a.example}}\n---\n"
    made = compiled(
        service("echo"), outside, EDGE, policy("p", f"{{targetRefs: [{target}]}}"), workloads=(both("echo"),)
    )
    assert codes(made) == ["WFT-1227"]
    assert said in made.problems[0].message
    assert sources(made, "echo") == []
    assert made.mesh.gateway_guards["default", "edge"].policies == ()
    assert accepted(made) == ("False", "TargetNotFound")


def test_a_misspelt_gateway_has_the_nearest_name() -> None:
    target = "{targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: egde}]}"
    assert compiled(EDGE, policy("p", target)).problems[0].remedy == "Write edge"
    assert compiled(policy("p", target)).problems[0].remedy.startswith("Declare the Gateway")


def test_custom_has_its_provider() -> None:
    made = compiled(
        OPA, service("opa"), policy("p", "{action: CUSTOM, provider: {name: opa}, rules: [{}]}"), workloads=(both("a"),)
    )
    (found,) = guard(made, "a").policies
    assert found.action is Action.CUSTOM
    assert found.provider is not None
    assert (found.provider.cluster, found.provider.grpc) == ("outbound|80||opa.default.svc.cluster.local", True)


def test_an_unknown_provider_refuses_what_it_would_be_asked_about() -> None:
    text = policy("p", "{action: CUSTOM, provider: {name: oap}, rules: [{to: [{operation: {paths: [/a]}}]}]}")
    made = compiled(OPA, service("opa"), text, workloads=(workload("a"),))
    (found,) = guard(made, "a").policies
    assert (found.action, len(found.rules), found.provider) == (Action.DENY, 1, None)
    assert (codes(made), made.problems[0].remedy) == (["WFT-1226"], "Write opa")
    assert accepted(made) == ("False", "Invalid")


def test_a_provider_whose_service_is_not_there_refuses_too() -> None:
    text = policy("p", "{action: CUSTOM, provider: {name: opa}, rules: [{}]}")
    made = compiled(OPA, text, workloads=(workload("a"),))
    assert guard(made, "a").policies[0].action is Action.DENY
    assert codes(made) == ["WFT-1237", "WFT-1237"]


def test_every_security_object_has_a_status() -> None:
    made = compiled(
        policy("p"),
        istio("PeerAuthentication", "a"),
        istio("RequestAuthentication", "t", "{jwtRules: [{issuer: 'https://a'}]}"),
    )
    for kind, name in (("AuthorizationPolicy", "p"), ("PeerAuthentication", "a"), ("RequestAuthentication", "t")):
        assert accepted(made, name, kind) == ("True", "Accepted")


def test_what_refers_to_services_is_known_before_it_is_read() -> None:
    texts = objects(policy("p", "{targetRefs: [{kind: Service, name: b}, {kind: Service, name: a}]}", "shop"))
    assert targeted((texts,)) == (ServiceKey("shop", "a"), ServiceKey("shop", "b"))


def test_objects_are_read_without_anything_around_them() -> None:
    texts = objects(policy("q"), policy("p"))
    groups = tuple(texts if kind == "AuthorizationPolicy" else () for kind in KINDS)
    found = read_security((groups, Around(Domains("local"), (), (), (), (), ())), Memo())
    assert [each.request.source for each in found.policies] == [
        "AuthorizationPolicy/default/p",
        "AuthorizationPolicy/default/q",
    ]
    assert found.policies[0].scopes == (Scope(namespace="default"),)
    broken = tuple(msgspec.structs.replace(each, object=None) for each in texts)
    groups = tuple(broken if kind == "AuthorizationPolicy" else () for kind in KINDS)
    assert read_security((groups, Around(Domains("local"), (), (), (), (), ())), Memo()).policies == ()
