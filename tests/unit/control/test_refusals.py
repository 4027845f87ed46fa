"""A proxy's refusal becomes a problem and a condition of the object that it came from."""

from __future__ import annotations

import msgspec

from tests.support.control import SHOP, records
from weft.control.refusals import blame, problems, programmed, short_type, sources, withheld
from weft.envoy import common
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.errors import Severity
from weft.model.status import Condition, ListenerStatus, ParentRef, ParentStatus, Status
from weft.values import Ref
from weft.xds.protocol import CLUSTER, VIRTUAL_HOST, Refusal, Resource
from weft.xds.status import NodeStatus, SyncState, TypeStatus

WEB = records(SHOP)[1]
BY_PATH = {WEB.ref.path: WEB}
GATEWAY = Ref("gateway.networking.k8s.io", "Gateway", "default", "edge")
ROUTE = Ref("gateway.networking.k8s.io", "HTTPRoute", "default", "web")


def refusal(source: str) -> Refusal:
    return Refusal(
        node="sidecar/default/a", type_url=CLUSTER, name="c", version="1", source=source, detail="too odd", at=0.0
    )


def unseen(refusal: Refusal) -> tuple[str, ...]:
    """Nobody knows the resource any more."""
    return sources(refusal, None)


def node(*refusals: Refusal, withheld: int = 0, name: str = "sidecar/default/a", connected: bool = True) -> NodeStatus:
    status = TypeStatus(
        type_url=CLUSTER,
        state=SyncState.REFUSED if refusals else SyncState.SYNCED,
        seconds=1.0,
        held=20,
        subscribed=0,
        wildcard=True,
        withheld=withheld,
        refusals=refusals,
    )
    return NodeStatus(
        node=name,
        connected=connected,
        seconds=1.0,
        streams=1,
        offered_revision=1,
        acknowledged_revision=1,
        types=(status,),
    )


def test_a_type_is_called_by_the_last_part_of_its_url() -> None:
    assert short_type(CLUSTER) == "Cluster"


def test_a_refusal_names_the_object_however_deep_in_it_the_resource_came_from() -> None:
    (problem,) = problems(blame([node(refusal(f"{WEB.ref.path}/ports/80"))], BY_PATH, unseen))
    assert problem.code == "WFT-1403"
    assert problem.ref == WEB.ref
    assert problem.origin == WEB.origin
    assert "too odd" in problem.message


def test_a_refusal_of_something_that_no_user_wrote_is_reported_with_its_source() -> None:
    (problem,) = problems(blame([node(refusal("weft/outbound"))], BY_PATH, unseen))
    assert problem.ref is None
    assert str(problem.origin) == "weft/outbound"


def test_removals_that_wait_for_an_operator_are_a_warning_with_the_command() -> None:
    (problem,) = withheld([node(withheld=15)])
    assert problem.severity is Severity.WARNING
    assert "15 of 20 Cluster" in problem.message
    assert problem.remedy.endswith("weft proxy confirm a")
    assert withheld([node()]) == ()


def test_a_refused_route_is_not_programmed_at_any_of_its_parents() -> None:
    accepted = Condition("Accepted", "True", "Accepted")
    parent = ParentStatus(ParentRef("web"), (accepted,))
    status = Status(ROUTE, 3, parents=(parent,))
    record = BY_PATH | {ROUTE.path: msgspec.structs.replace(WEB, ref=ROUTE)}
    found = programmed({ROUTE: status}, blame([node(refusal(ROUTE.path))], record, unseen), [])[ROUTE]
    conditions = {each.type: each for each in found.parents[0].conditions}
    assert conditions["Accepted"] == accepted
    assert conditions["Programmed"].status == "False"
    assert "too odd" in conditions["Programmed"].message
    assert found.conditions == ()


def routed(*names: str) -> Resource:
    hosts = route.VirtualHost(name="outbound/web", domains=["web"], routes=[route.Route(name=name) for name in names])
    return common.resource("outbound/web", hosts, WEB.ref.path)


def test_what_is_wrong_with_a_virtual_host_stands_in_its_routes() -> None:
    resource = routed("HTTPRoute/default/web/rules/0", "HTTPRoute/default/other/rules/0", "no-match")
    refused = msgspec.structs.replace(
        refusal(WEB.ref.path), type_url=VIRTUAL_HOST, name=resource.name, version=resource.version
    )
    made_of = sources(refused, resource)
    assert made_of == ("HTTPRoute/default/web/rules/0", "HTTPRoute/default/other/rules/0")
    record = {ROUTE.path: msgspec.structs.replace(WEB, ref=ROUTE)}
    blamed = blame([node(refused)], record, lambda _: made_of)
    assert [each.record.ref if each.record else None for each in blamed] == [ROUTE, None]


def test_a_resource_without_routes_of_users_or_of_another_version_is_its_sources() -> None:
    plain = routed("Service/default/web", "no-match")
    refused = msgspec.structs.replace(refusal(WEB.ref.path), type_url=VIRTUAL_HOST, version=plain.version)
    assert sources(refused, plain) == (WEB.ref.path,)
    assert sources(refused, routed("HTTPRoute/default/web/rules/0")) == (WEB.ref.path,)
    assert sources(refused, None) == (WEB.ref.path,)


def test_an_object_that_has_no_status_else_has_one_while_it_is_refused() -> None:
    found = programmed({}, blame([node(refusal(WEB.ref.path))], BY_PATH, unseen), [])[WEB.ref]
    (said,) = found.conditions
    assert (said.type, said.status, said.reason) == ("Programmed", "False", "Invalid")
    assert "sidecar/default/a refused it: too odd" in said.message


WAITING = Condition("Programmed", "Unknown", "Pending", "waiting")
EDGE = "gateway/default/edge"


def test_a_gateway_and_its_listeners_are_programmed_when_its_edge_proxy_has_acknowledged_everything() -> None:
    status = Status(GATEWAY, 1, conditions=(WAITING,), listeners=(ListenerStatus("a", (), 0, (WAITING,)),))
    found = programmed({GATEWAY: status}, (), [node(name=EDGE)])[GATEWAY]
    for conditions in (found.conditions, found.listeners[0].conditions):
        assert [(each.status, each.reason) for each in conditions] == [("True", "Programmed")]


def test_a_gateway_waits_while_its_edge_proxy_has_not_answered() -> None:
    status = Status(GATEWAY, 1, conditions=(WAITING,))
    behind = msgspec.structs.replace(node(name=EDGE), acknowledged_revision=0)
    assert programmed({GATEWAY: status}, (), [behind])[GATEWAY] == status


def test_a_gateway_without_a_connected_edge_proxy_is_not_programmed() -> None:
    status = Status(GATEWAY, 1, conditions=(WAITING,))
    for proxies in ([], [node(name=EDGE, connected=False)]):
        (condition,) = programmed({GATEWAY: status}, (), proxies)[GATEWAY].conditions
        assert (condition.status, condition.reason) == ("False", "Pending")


def test_a_gateway_that_the_compiler_refused_keeps_its_reason() -> None:
    invalid = Condition("Programmed", "False", "Invalid", "no listener is valid")
    status = Status(GATEWAY, 1, conditions=(invalid,), listeners=(ListenerStatus("a", (), 0, ()),))
    for proxies in ([], [node(name=EDGE)]):
        assert programmed({GATEWAY: status}, (), proxies)[GATEWAY] == status
