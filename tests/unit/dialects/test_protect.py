"""Security among the stages of compiling: what runs again when, and nothing depends on the order."""

from __future__ import annotations

import msgspec

from tests.support.compiled import compiled, gateway, objects, service, workload
from tests.support.policies import both, guard, mesh, peer, policy
from weft.dialects.compile import compile_world
from weft.dialects.values import Input
from weft.memo import Memo
from weft.model.service import Address, HostReport
from weft.names import ServiceKey

ECHO = (HostReport(host="here", workloads=(both("echo"),)),)


def test_a_foreign_gateway_has_no_guard_and_an_exposed_service_has_one() -> None:
    made = compiled(
        gateway("edge", "[{name: http, port: 80, protocol: HTTP}]", class_name="other"),
        mesh("{}", "{web: {port: 80, expose: {port: 8000}}}"),
        policy("p", "{}", "weft-system"),
    )
    assert list(made.mesh.gateway_guards) == [("default", "exposed")]
    assert len(made.mesh.gateway_guards["default", "exposed"].policies) == 1


def test_every_workload_has_guards_and_gateways_and_hosts_are_no_workloads() -> None:
    made = compiled(workloads=(both("a"), workload("b")))
    assert set(made.mesh.guards) == set(made.mesh.workloads)


def test_a_route_changes_no_guard() -> None:
    memo = Memo()
    texts = objects(service("echo"), policy("p"))
    first = compile_world(Input(texts, ECHO), memo)
    memo.turn()
    second = compile_world(Input((*texts, *objects(service("other"))), ECHO), memo)
    assert second.mesh.guards is first.mesh.guards
    assert second.mesh.peers is not first.mesh.peers


def test_a_line_that_moves_changes_no_guard() -> None:
    memo = Memo()
    first = compile_world(Input(objects(policy("p")), ECHO), memo)
    memo.turn()
    second = compile_world(Input(objects("# moved\n" + policy("p")), ECHO), memo)
    assert second.mesh.guards["default", "echo"] == first.mesh.guards["default", "echo"]
    assert second.mesh.guards["default", "echo"] is first.mesh.guards["default", "echo"]


def test_an_endpoint_says_where_it_is_reached_from_other_hosts() -> None:
    here = HostReport(host="here", workloads=(both("echo"),), address="192.0.2.7", relay_port=15008)
    made = compile_world(Input(objects(service("echo")), (here,)), Memo())
    (endpoint,) = made.mesh.endpoints[ServiceKey("default", "echo"), 80]
    assert (endpoint.host, endpoint.name) == ("here", "8080.echo.default.here.h.weft")
    assert endpoint.remote == Address(ip="192.0.2.7", port=15008)
    lost = compile_world(Input(objects(service("echo")), (msgspec.structs.replace(here, lost=True),)), Memo())
    assert lost.mesh.endpoints[ServiceKey("default", "echo"), 80][0].lost


def test_a_port_in_the_clear_is_not_reached_from_other_hosts() -> None:
    here = HostReport(host="here", workloads=(both("echo"),), address="192.0.2.7")
    made = compile_world(Input(objects(service("echo"), peer("off", "{mtls: {mode: DISABLE}}")), (here,)), Memo())
    (endpoint,) = made.mesh.endpoints[ServiceKey("default", "echo"), 80]
    assert (endpoint.name, endpoint.remote) == ("", Address())


def test_two_hosts_guard_what_each_of_them_runs() -> None:
    there = HostReport(host="there", workloads=(both("other", host="there"),))
    made = compile_world(Input(objects(policy("p")), (*ECHO, there)), Memo())
    assert [len(guard(made, name).policies) for name in ("echo", "other")] == [1, 1]
