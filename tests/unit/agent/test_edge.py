"""Proxies without an application: what they bind and report."""

from __future__ import annotations

import dataclasses
import socket
from typing import TYPE_CHECKING

import anyio
import msgspec
import pytest

from tests.support import fake_envoy
from tests.unit.agent.test_instance import machine
from weft.agent.edge import EGRESS_NAMESPACE, Edge, EdgeRecord, load_edges
from weft.model.mesh import GatewaySpec
from weft.model.service import Address, Placement
from weft.paths import prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from weft.agent.machine import Machine

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


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
    [record] = load_edges(tmp_path / "agent" / "records")
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
    assert load_edges(tmp_path) == ()
    assert not list(tmp_path.iterdir())


def with_envoy(tmp_path: Path) -> Machine:
    """A machine whose Envoy is ``fake_envoy``: it listens nowhere but on its admin socket."""
    made = machine(tmp_path)
    assert prepare(made.settings.paths) == ()
    return dataclasses.replace(
        made,
        binary=fake_envoy.program(tmp_path),
        render=lambda node: fake_envoy.bootstrap(made.settings.paths.sockets(node) / "admin.sock"),
    )


async def until(what: str, look: Callable[[], object]) -> None:
    with anyio.move_on_after(20):
        while not look():  # noqa: ASYNC110 - no event
            await anyio.sleep(0.01)
        return
    raise AssertionError(what)


async def test_the_next_agent_goes_on_with_the_same_envoy_and_ports_and_its_end_leaves_nothing(tmp_path: Path) -> None:
    shared = with_envoy(tmp_path)
    edge = Edge(Placement.GATEWAY, "default", "edge", shared)
    async with anyio.create_task_group() as group:
        group.start_soon(edge.run)
        edge.want(GatewaySpec("default", "edge", (28080,)), frozenset())
        await until("it runs", lambda: edge.rows()[0].pid)
        assert await edge.proxy.wait_ready(20)
        before = edge.rows()[0]
        group.cancel_scope.cancel()
    [record] = load_edges(shared.settings.paths.records)
    again = Edge(record.placement, record.namespace, record.name, shared)
    again.adopt(record.ports)
    assert (again.rows()[0].pid, again.rows()[0].ports) == (before.pid, ("28080",))
    async with anyio.create_task_group() as group:
        group.start_soon(again.run)
        await until("it is looked after", lambda: [one.pid for one in again.children()] == [before.pid])
        await again.stop(drain=True)
    assert not list(shared.settings.paths.records.iterdir())
    gone = Edge(record.placement, record.namespace, record.name, shared)
    gone.adopt(record.ports)
    assert gone.bound == frozenset(), "what no longer runs has bound nothing"


async def test_the_guard_chooses_another_port_when_somebody_else_has_it(tmp_path: Path) -> None:
    edge = Edge(Placement.GATEWAY, "default", "edge", with_envoy(tmp_path))
    async with anyio.create_task_group() as group:
        group.start_soon(edge.run)
        await until("it runs", lambda: edge.proxy.child.pid)
        with socket.socket() as stranger:
            stranger.bind(("127.0.0.1", 0))
            port = stranger.getsockname()[1]
            edge._ports = {80: port}
            edge._wanted = GatewaySpec("default", "edge", (80,))
            stranger.listen()
            await until("another port", lambda: edge.bound and port not in edge.bound)
        await edge.stop(drain=False)
