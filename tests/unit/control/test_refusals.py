"""A proxy's refusal becomes a problem and a condition of the object that it came from."""

from __future__ import annotations

import msgspec

from tests.support.control import SHOP, records
from weft.control.refusals import blame, problems, programmed, short_type, withheld
from weft.errors import Severity
from weft.model.status import Condition, ListenerStatus, ParentRef, ParentStatus, Status
from weft.values import Ref
from weft.xds.protocol import CLUSTER, Refusal
from weft.xds.status import NodeStatus, SyncState, TypeStatus

WEB = records(SHOP)[1]
BY_PATH = {WEB.ref.path: WEB}
GATEWAY = Ref("gateway.networking.k8s.io", "Gateway", "default", "edge")
ROUTE = Ref("gateway.networking.k8s.io", "HTTPRoute", "default", "web")


def refusal(source: str) -> Refusal:
    return Refusal(
        node="sidecar/default/a", type_url=CLUSTER, name="c", version="1", source=source, detail="too odd", at=0.0
    )


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
    (problem,) = problems(blame([node(refusal(f"{WEB.ref.path}/ports/80"))], BY_PATH))
    assert problem.code == "WFT-1403"
    assert problem.ref == WEB.ref
    assert problem.origin == WEB.origin
    assert "too odd" in problem.message


def test_a_refusal_of_something_that_no_user_wrote_is_reported_with_its_source() -> None:
    (problem,) = problems(blame([node(refusal("weft/outbound"))], BY_PATH))
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
    found = programmed({ROUTE: status}, blame([node(refusal(ROUTE.path))], record), [])[ROUTE]
    conditions = {each.type: each for each in found.parents[0].conditions}
    assert conditions["Accepted"] == accepted
    assert conditions["Programmed"].status == "False"
    assert "too odd" in conditions["Programmed"].message
    assert found.conditions == ()


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
