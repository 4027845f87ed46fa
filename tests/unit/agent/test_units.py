"""Units follow what control wants, with real processes and proxies that look like it. With Envoy: tests/envoy/test_agent.py."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import anyio
import msgspec
import pytest

from tests.support import fake_envoy
from tests.unit.agent.test_instance import machine
from weft.agent.control import Control, Names
from weft.agent.edge import EdgeRecord
from weft.agent.instance import Instance
from weft.agent.proxy import Proxy
from weft.agent.units import NO_TRANSPARENT, Units, leads_outside
from weft.model.mesh import Attest, GatewaySpec, Placements, PortSpec, ProcessSpec
from weft.model.service import Capture, Placement, Protocol, State
from weft.paths import prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from weft.agent.machine import Row

pytestmark = pytest.mark.anyio

SERVER = """
import os, socket, time
one = socket.socket(); one.bind(("127.0.0.1", int(os.environ["PORT"]))); one.listen(); time.sleep(600)
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def spec(name: str, **environment: str) -> ProcessSpec:
    return ProcessSpec(
        namespace="default",
        name=name,
        service=name,
        version="v1",
        command=(sys.executable, "-c", SERVER),
        environment=tuple(environment.items()),
        ports=(PortSpec(9080, "tcp", Protocol.TCP),),
        capture=Capture.NONE,
    )


async def until(what: str, look: Callable[[], object]) -> None:
    with anyio.move_on_after(20):
        while not look():  # noqa: ASYNC110 - no event
            await anyio.sleep(0.01)
        return
    raise AssertionError(what)


def units_at(tmp_path: Path, address: str = "", changed: Callable[[], None] = lambda: None) -> tuple[Units, Control]:
    shared = machine(tmp_path, transparent=False)
    settings = msgspec.structs.replace(shared.settings, drain_seconds=0.1, address=address)
    assert prepare(settings.paths) == ()
    control = Control(settings.paths, "here")
    made = dataclasses.replace(
        shared,
        settings=settings,
        changed=changed,
        binary=fake_envoy.program(tmp_path),
        render=lambda node: fake_envoy.bootstrap(settings.paths.sockets(node) / "admin.sock"),
    )
    return Units(made, control), control


def apps(units: Units) -> tuple[Row, ...]:
    return tuple(row for row in units.rows() if row.kind != "proxy")


def states(units: Units) -> dict[str, str]:
    return {row.name: row.state for row in apps(units)}


async def test_what_is_wanted_starts_what_changed_is_rolled_and_what_is_not_wanted_ends(tmp_path: Path) -> None:
    units, control = units_at(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(units.run)
        control.placements.set(Placements(processes=(spec("a"), spec("b"))))
        await until("both serve", lambda: states(units) == {"a": "serving", "b": "serving"})
        pids = {row.name: row.pid for row in apps(units)}
        control.placements.set(Placements(processes=(spec("a", COLOUR="red"),)))
        await until("both live", lambda: "a~next" in states(units))
        assert states(units)["a"] == "serving"
        await until("rolled", lambda: states(units) == {"a": "serving"} and apps(units)[0].pid != pids["a"])
        entered = units.enter("a")
        assert entered is not None
        assert entered["environment"]["COLOUR"] == "red"
        assert entered["namespaces"] == []
        await units.stop_all()
        group.cancel_scope.cancel()
    assert not list((tmp_path / "agent" / "records").iterdir())


async def test_another_agent_goes_on_with_the_same_processes_and_ports(tmp_path: Path) -> None:
    units, control = units_at(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(units.run)
        control.placements.set(Placements(processes=(spec("a"),)))
        await until("serves", lambda: states(units) == {"a": "serving"})
        before = (apps(units)[0].pid, units.all()[0].report())
        group.cancel_scope.cancel()
    again, _ = units_at(tmp_path)
    again.load()
    await again.look()
    assert states(again) == {"a": "serving"}, "or its first report would take a working endpoint away"
    async with anyio.create_task_group() as group:
        group.start_soon(again.run)
        assert (apps(again)[0].pid, again.all()[0].report()) == before
        await again.stop_all()
        group.cancel_scope.cancel()


async def test_orders_by_hand_are_obeyed_until_taken_back(tmp_path: Path) -> None:
    units, control = units_at(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(units.run)
        control.placements.set(Placements(processes=(spec("a"),)))
        await until("serves", lambda: states(units) == {"a": "serving"})
        pid = apps(units)[0].pid
        assert await units.restart("a")
        await until("another serves", lambda: states(units) == {"a": "serving"} and apps(units)[0].pid != pid)
        assert await units.stop("default/a")
        assert states(units) == {"a": "stopped"}
        control.placements.set(Placements(processes=(spec("a"), spec("b"))))
        await until("only the other starts", lambda: states(units) == {"a": "stopped", "b": "serving"})
        assert await units.start("a")
        await until("both serve", lambda: set(states(units).values()) == {State.SERVING.value})
        assert not await units.stop("c")
        assert not await units.start("c")
        assert not await units.restart("c")
        assert units.enter("c") is None
        assert units.log_of("a", proxy=False) is not None
        assert units.log_of("a", proxy=True) is not None
        await units.stop_all()
        group.cancel_scope.cancel()


def test_an_edge_proxy_is_found_by_each_of_its_names(tmp_path: Path) -> None:
    units, _ = units_at(tmp_path)
    record = EdgeRecord(Placement.GATEWAY, "default", "edge", {80: 8080})
    (tmp_path / "agent" / "records" / "gateway.default.edge.edge.json").write_bytes(msgspec.json.encode(record))
    units.load()
    (edge,) = units.all()
    for name in ("edge", "default/edge", "gateway/default/edge"):
        assert units.find(name) is edge, name
    assert units.find("other/edge") is None
    assert units.enter("edge") is None


def test_the_way_out_is_needed_for_external_names_and_for_any_traffic() -> None:
    assert not leads_outside(Names({"a.b": "240.0.0.1"}, {}, "registryOnly"))
    assert leads_outside(Names({}, {"x.org": "240.0.0.1"}, "registryOnly"))
    assert leads_outside(Names({}, {}, "allowAny"))


async def test_a_changed_workload_that_never_serves_leaves_the_one_before_in_charge(tmp_path: Path) -> None:
    units, control = units_at(tmp_path)
    broken = msgspec.structs.replace(spec("a"), command=(sys.executable, "-c", "print('no disk'); raise SystemExit(7)"))
    async with anyio.create_task_group() as group:
        group.start_soon(units.run)
        control.placements.set(Placements(processes=(spec("a"),)))
        await until("serves", lambda: states(units) == {"a": "serving"})
        before = apps(units)
        control.placements.set(Placements(processes=(broken,)))
        await until("it keeps failing", lambda: states(units) == {"a": "serving", "a~next": "crash-loop"})
        assert "no disk" in apps(units)[1].reason
        assert apps(units)[0] == before[0]
        assert sorted(one.report().name for one in units.all()) == ["a", "a~1"]  # type: ignore[union-attr]  # they are workloads
        # What is wanted again is still there.
        control.placements.set(Placements(processes=(spec("a"),)))
        await until("as before", lambda: apps(units) == before)
        control.placements.set(Placements(processes=(broken,)))
        await until("it fails again", lambda: "a~next" in states(units))
        control.placements.set(Placements(processes=(spec("a", COLOUR="red"),)))
        await until("mended", lambda: states(units) == {"a": "serving"} and apps(units)[0].pid != before[0].pid)
        # One that does not serve is missed by nobody: no second one stands beside it.
        control.placements.set(Placements(processes=(broken,)))
        await until("it fails again", lambda: "a~next" in states(units))
        assert await units.stop("a")
        assert states(units) == {"a": "stopped"}
        assert await units.start("a")
        await until("it fails alone", lambda: states(units) == {"a": "crash-loop"})
        control.placements.set(Placements(processes=(spec("a"),)))
        await until("serves", lambda: states(units) == {"a": "serving"})
        assert [one.report().name for one in units.all()] == ["a"]  # type: ignore[union-attr]  # it is a workload
        await units.stop_all()
        group.cancel_scope.cancel()
    assert not list((tmp_path / "agent" / "records").iterdir())


async def test_an_agent_that_ended_amid_a_takeover_is_followed_by_one_that_completes_it(tmp_path: Path) -> None:
    units, control = units_at(tmp_path)
    waits = "import os, time\nwhile not os.path.exists(os.environ['GO']): time.sleep(0.01)\n" + SERVER
    go = tmp_path / "go"
    changed = msgspec.structs.replace(spec("a", GO=str(go)), command=(sys.executable, "-c", waits))
    async with anyio.create_task_group() as group:
        group.start_soon(units.run)
        control.placements.set(Placements(processes=(spec("a"),)))
        await until("serves", lambda: states(units) == {"a": "serving"})
        control.placements.set(Placements(processes=(changed,)))
        await until("both live", lambda: sum(row.pid != 0 for row in apps(units)) == 2)
        pids = {row.name: row.pid for row in apps(units)}
        group.cancel_scope.cancel()
    again, _ = units_at(tmp_path)
    again.load()
    await again.look()
    async with anyio.create_task_group() as group:
        group.start_soon(again.run)
        assert {row.name: row.pid for row in apps(again)} == pids
        assert states(again) == {"a": "serving", "a~next": "starting"}
        go.touch()
        await until("taken over", lambda: states(again) == {"a": "serving"} and apps(again)[0].pid == pids["a~next"])
        await again.stop_all()
        group.cancel_scope.cancel()


async def test_the_workloads_of_one_version_are_replaced_one_after_the_other(tmp_path: Path) -> None:
    units, control = units_at(tmp_path)

    def two(**environment: str) -> Placements:
        made = (msgspec.structs.replace(spec(name, **environment), service="shop") for name in ("a", "b"))
        return Placements(processes=tuple(made))

    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, sum("~next" in name for name in states(units)))
        return states(units) == {"a": "serving", "b": "serving"} and pids.isdisjoint(row.pid for row in apps(units))

    async with anyio.create_task_group() as group:
        group.start_soon(units.run)
        control.placements.set(two())
        await until("both serve", lambda: states(units) == {"a": "serving", "b": "serving"})
        pids = {row.pid for row in apps(units)}
        control.placements.set(two(COLOUR="red"))
        await until("both are replaced", done)
        assert most == 1
        await units.stop_all()
        group.cancel_scope.cancel()


async def test_what_asks_for_a_capture_that_does_not_work_here_stays_stopped_and_says_so(tmp_path: Path) -> None:
    units, control = units_at(tmp_path)
    asked = msgspec.structs.replace(spec("a"), capture=Capture.TRANSPARENT)
    async with anyio.create_task_group() as group:
        group.start_soon(units.run)
        control.placements.set(Placements(processes=(asked,)))
        await until("told", lambda: [row.reason for row in apps(units)] == [NO_TRANSPARENT])
        assert states(units) == {"a": "stopped"}
        assert await units.start("a")
        control.placements.set(Placements(processes=(spec("a"),)))
        await until("serves", lambda: states(units) == {"a": "serving"})
        assert [row.reason for row in apps(units)] == [""]
        control.placements.set(Placements(processes=(asked,)))
        await until("told", lambda: [row.reason for row in apps(units)] == [NO_TRANSPARENT])
        assert states(units) == {"a": "serving"}, "nobody is served by ending what works"
        await units.stop_all()
        group.cancel_scope.cancel()


async def test_what_something_else_runs_is_reported_and_is_not_ours_to_restart(tmp_path: Path) -> None:
    units, control = units_at(tmp_path)
    foreign = msgspec.structs.replace(spec("ledger"), command=(), attest=Attest(uid="990"))
    async with anyio.create_task_group() as group:
        group.start_soon(units.run)
        control.placements.set(Placements(processes=(foreign,)))
        await until("it is known", lambda: states(units) == {"ledger": "starting"})
        (unit,) = units.all()
        report = unit.report()
        assert report is not None
        assert report.ports[0].application.port == 9080
        assert report.proxied
        assert units.find("ledger") is unit
        assert not await units.restart("ledger")
        assert not await units.stop("ledger")
        await until("its proxy runs", lambda: [row.state for row in units.rows()] == ["starting", "running"])
        proxy = units.rows()[1].pid
        control.placements.set(Placements(processes=(msgspec.structs.replace(foreign, service_account="other"),)))
        await until("it is told", lambda: unit.report().service_account == "other")  # type: ignore[union-attr]
        assert units.all() == (unit,), "another account needs no other proxy"
        group.cancel_scope.cancel()
    again, control = units_at(tmp_path)
    again.load()
    await again.look()
    assert [row.pid for row in again.rows()] == [0, proxy], "the next agent knows it before control is heard of"
    async with anyio.create_task_group() as group:
        group.start_soon(again.run)
        (before,) = again.all()
        other = msgspec.structs.replace(foreign, ports=(PortSpec(9081, "tcp", Protocol.TCP),))
        control.placements.set(Placements(processes=(other,)))
        await until("it has other ports", lambda: [row.ports for row in again.rows()[:1]] == [("9081/tcp",)])
        assert again.all()[0] is not before
        control.placements.set(Placements(processes=(spec("ledger"),)))
        await until("the agent runs it", lambda: states(again) == {"ledger": "serving"})
        control.placements.set(Placements(processes=(foreign,)))
        await until("something else does", lambda: states(again) == {"ledger": "starting"})
        control.placements.set(Placements())
        await until("it is gone", lambda: not again.all())
        group.cancel_scope.cancel()
    assert not list((tmp_path / "agent" / "records").iterdir())


async def test_a_gateway_that_is_wanted_again_while_it_ends_begins_when_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units, control = units_at(tmp_path)
    answered = anyio.Event()

    async def drain(*_: object) -> None:
        await answered.wait()

    monkeypatch.setattr(Proxy, "drain_listeners", drain)
    wanted = Placements(gateways=(GatewaySpec("default", "edge", (18_080,)),))

    def pid() -> int:
        return max((row.pid for row in units.rows()), default=0)

    async with anyio.create_task_group() as group:
        group.start_soon(units.run)
        control.placements.set(wanted)
        await until("it runs", pid)
        first, (edge,) = pid(), units.all()
        control.placements.set(Placements())
        await until("it ends", lambda: not units.all())
        control.placements.set(wanted)
        await anyio.wait_all_tasks_blocked()
        answered.set()
        await until("the one before has ended", lambda: not (edge.proxy and edge.proxy.child.pid))
        await until("it runs again", lambda: pid() not in (0, first))
        left = {path.name for path in (tmp_path / "agent" / "records").iterdir()}
        assert left == {"gateway.default.edge.edge.json", "gateway.default.edge.proxy.json"}
        (again,) = units.all()
        assert again.proxy is not None
        assert await again.proxy.wait_ready(20), "its files are its own"
        await units.stop_all()
        group.cancel_scope.cancel()


async def test_a_user_that_is_not_there_is_refused_with_a_code(tmp_path: Path) -> None:
    units, control = units_at(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(units.run)
        control.placements.set(Placements(processes=(msgspec.structs.replace(spec("a"), user="nobody-has-this-name"),)))
        await until("it is refused", lambda: any("WFT-1841" in row.reason for row in apps(units)))
        assert states(units) == {"a": "stopped"}
        group.cancel_scope.cancel()


@pytest.mark.parametrize(("address", "relay"), [("10.0.0.1", "relay.sock"), ("", "")])
async def test_a_host_with_an_address_has_a_host_proxy_though_nothing_is_outside(
    tmp_path: Path, address: str, relay: str
) -> None:
    units, control = units_at(tmp_path, address)
    async with anyio.create_task_group() as group:
        group.start_soon(units.run)
        control.placements.set(Placements(processes=(spec("a"),)))
        await until("the application runs", lambda: "a" in states(units))
        assert "here" not in states(units), "a control plane that has no store yet must not find a proxy"
        control.names.set(Names({"a.default": "240.0.0.1"}, {}, "registryOnly"))
        if address:
            await until("the host proxy is there", lambda: "here" in states(units))
        reports = [unit.report() for unit in units.all()]
        assert {each.relay.path.rpartition("/")[2] for each in reports if each and each.relay} == {relay} - {""}
        await units.stop_all()
        group.cancel_scope.cancel()


@pytest.mark.parametrize("address", ["10.0.0.1", ""])
async def test_only_where_other_hosts_call_they_are_told_before_everything_ends(tmp_path: Path, address: str) -> None:
    said: list[tuple[State, bool]] = []

    def note() -> None:
        unit = units.find("a")
        if isinstance(unit, Instance):
            said.append((unit.state(), unit.application.pid != 0))

    units, control = units_at(tmp_path, address, note)
    async with anyio.create_task_group() as group:
        group.start_soon(units.run)
        control.placements.set(Placements(processes=(spec("a"),)))
        await until("serves", lambda: states(units) == {"a": "serving"})
        await units.stop_all()
        group.cancel_scope.cancel()
    assert ((State.DRAINING, True) in said) == bool(address), "still there, and said to go"
