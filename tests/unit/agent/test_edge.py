"""Proxies without an application: what they bind and report."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import msgspec

from tests.unit.agent.test_instance import machine
from weft.agent.edge import EGRESS_NAMESPACE, Edge, EdgeRecord, load_records
from weft.model.mesh import GatewaySpec
from weft.model.service import Address, Placement

if TYPE_CHECKING:
    from pathlib import Path


def test_a_gateway_reports_the_ports_that_it_could_bind_and_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "agent" / "records").mkdir(parents=True)
    edge = Edge(Placement.GATEWAY, "default", "edge", machine(tmp_path))
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        edge.want(GatewaySpec("default", "edge", (port,)), frozenset())
        [(number, address)] = edge.report().gateway_ports
        assert number == port
        assert address.port > port
    edge.want(GatewaySpec("default", "edge", (port,)), frozenset())
    assert edge.report().gateway_ports == ((port, address),)
    assert edge.rows()[0].ports == (f"{port}->{address.port}",)
    assert edge.rows()[0].urls == (f"http://127.0.0.1:{address.port}",)
    [record] = load_records(tmp_path / "agent" / "records")
    assert record == EdgeRecord(Placement.GATEWAY, "default", "edge", {port: address.port})


def test_a_port_that_somebody_else_bound_after_it_was_chosen_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "agent" / "records").mkdir(parents=True)
    edge = Edge(Placement.GATEWAY, "default", "edge", machine(tmp_path))
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        port = busy.getsockname()[1]
        busy.close()
        edge.want(GatewaySpec("default", "edge", (port, port + 2)), frozenset())
        assert edge.bound == {port, port + 2}
    with socket.socket() as late:
        late.bind(("127.0.0.1", port))
        late.listen()
        edge.give_up(frozenset({port}))
        assert port not in edge.bound
        assert port + 2 in edge.bound
        assert len(edge.bound) == 2


def test_ports_of_other_gateways_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "agent" / "records").mkdir(parents=True)
    edge = Edge(Placement.GATEWAY, "default", "edge", machine(tmp_path))
    edge.want(GatewaySpec("default", "edge", (29999,)), frozenset({29999}))
    assert 29999 not in edge.bound


def test_the_egress_proxy_listens_on_its_socket_and_is_called_as_the_host(tmp_path: Path) -> None:
    edge = Edge(Placement.EGRESS, EGRESS_NAMESPACE, "here", machine(tmp_path))
    report = edge.report()
    assert edge.node == "egress/weft-system/here"
    assert report.outbound == Address(path=str(tmp_path / "egress.sock"))
    assert [row.kind for row in edge.rows()] == ["egress"]


def test_damaged_records_are_removed(tmp_path: Path) -> None:
    (tmp_path / "a.edge.json").write_bytes(msgspec.json.encode({"ports": "x"}))
    assert load_records(tmp_path) == ()
    assert not list(tmp_path.iterdir())
