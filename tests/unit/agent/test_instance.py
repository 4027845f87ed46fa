"""What is chosen for an instance, and what a change of its specification means."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import msgspec
import pytest

from weft.agent import processes
from weft.agent.instance import Instance, Plan, chosen_ports, load_plans, make_plan, needs_restart
from weft.agent.machine import Machine
from weft.agent.ports import Ports
from weft.agent.processes import StartError
from weft.agent.settings import from_environ
from weft.model.mesh import HealthCheck, PortSpec, ProcessSpec
from weft.model.service import Address, Capture, Protocol, State
from weft.paths import prepare

SPEC = ProcessSpec(
    namespace="default",
    name="ratings-v1-0",
    service="ratings",
    version="v1",
    command=("run",),
    ports=(PortSpec(9080, "http", Protocol.HTTP),),
    bound=(("reviews", 80, Protocol.HTTP), ("db", 6379, Protocol.TCP), ("log", 514, Protocol.UDP)),
)


def machine(tmp_path: Path, *, transparent: bool = True) -> Machine:
    settings = from_environ({"WEFT_STATE_DIR": str(tmp_path), "WEFT_RUNTIME_DIR": str(tmp_path), "WEFT_HOST": "here"})
    return Machine(settings, Path("envoy"), Ports("here"), lambda _: b"{}", lambda: None, transparent)


def test_a_captured_application_keeps_its_port_and_no_port_of_the_host_is_used(tmp_path: Path) -> None:
    plan = make_plan(SPEC, Capture.TRANSPARENT, machine(tmp_path))
    assert dict(plan.applications) == {9080: Address(ip="127.0.0.1", port=9080)}
    assert plan.outbound == Address(ip="127.0.0.1", port=15001)
    assert chosen_ports(plan) == ()


@pytest.mark.parametrize(
    ("capture", "bound", "outbound"),
    [(Capture.PROXY, ["db"], True), (Capture.PORTS, ["reviews", "db"], False), (Capture.NONE, [], False)],
)
def test_other_modes_choose_distinct_ports(tmp_path: Path, capture: Capture, bound: list[str], outbound: bool) -> None:
    plan = make_plan(SPEC, capture, machine(tmp_path))
    assert [one.service for one in plan.bound] == bound
    assert (plan.outbound is not None) == outbound
    ports = chosen_ports(plan)
    assert len(ports) == len(set(ports)) == 1 + len(bound) + outbound


def test_only_what_the_process_sees_is_a_reason_to_restart_it() -> None:
    def changed(**fields: object) -> bool:
        return needs_restart(SPEC, msgspec.structs.replace(SPEC, **fields))

    assert not changed(labels=(("a", "b"),), health=HealthCheck("http"), source="x")
    assert changed(service_account="s"), "it is somebody else"
    assert changed(command=("other",))
    assert changed(environment=(("A", "b"),))
    assert changed(ports=())


def test_a_report_says_where_everything_is(tmp_path: Path) -> None:
    one = Instance(make_plan(SPEC, Capture.TRANSPARENT, machine(tmp_path)), machine(tmp_path))
    report = one.report()
    assert (report.host, report.namespace, report.name) == ("here", "default", "ratings-v1-0")
    assert report.egress == Address(path=str(tmp_path / "egress.sock"))
    [port] = report.ports
    assert port.listen.path.endswith("in-9080.sock")
    assert port.state is State.STARTING
    assert [row.kind for row in one.rows()] == ["app", "proxy"]


def test_what_is_not_captured_has_a_proxy_to_be_called_by_and_none_to_call_by(tmp_path: Path) -> None:
    one = Instance(make_plan(SPEC, Capture.NONE, machine(tmp_path)), machine(tmp_path))
    report = one.report()
    [port] = report.ports
    assert port.listen.path.endswith("in-9080.sock")
    assert (report.captured, report.proxied, report.outbound, report.bound) == (False, True, None, ())
    assert [row.kind for row in one.rows()] == ["app", "proxy"]


def test_what_nobody_can_call_and_nobody_captures_needs_no_proxy(tmp_path: Path) -> None:
    silent = msgspec.structs.replace(SPEC, ports=())
    one = Instance(make_plan(silent, Capture.NONE, machine(tmp_path)), machine(tmp_path))
    assert (one.report().proxied, [row.kind for row in one.rows()]) == (False, ["app"])
    assert [
        msgspec.structs.replace(SPEC, command=command, ports=ports, capture=capture).proxied
        for command in ((), ("a",))
        for ports in ((), SPEC.ports)
        for capture in (Capture.NONE, None)
    ] == [False, False, True, True, False, True, True, True]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_who_stops_an_instance_that_somebody_else_has_stopped_finds_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of everything may come while a workload that is not wanted any more ends; its namespace is closed by then."""
    shared = machine(tmp_path)
    assert prepare(shared.settings.paths) == ()
    silent = msgspec.structs.replace(SPEC, ports=(), command=(sys.executable, "-c", "input()"))
    one = Instance(make_plan(silent, Capture.NONE, shared), shared)
    try:
        monkeypatch.setattr(one, "_namespace", await processes.create_namespace(tmp_path / "log"))
    except StartError as error:
        pytest.skip(f"this machine does not allow namespaces: {error}")
    async with anyio.create_task_group() as group:
        group.start_soon(one.run)
        await one.stop(drain=False)
        await one.stop(drain=False)
    assert one.namespace is None
    assert load_plans(shared.settings.paths.records) == ()


def test_plans_are_read_back_and_damaged_ones_removed(tmp_path: Path) -> None:
    plan = make_plan(SPEC, Capture.PROXY, machine(tmp_path))
    (tmp_path / "a.plan.json").write_bytes(msgspec.json.encode(plan))
    (tmp_path / "b.plan.json").write_bytes(b"{")
    assert load_plans(tmp_path) == (plan,)
    assert isinstance(plan, Plan)
    assert not (tmp_path / "b.plan.json").exists()
