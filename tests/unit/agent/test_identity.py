"""Identity on a host, put together; as a whole: tests/unit/agent/test_agent.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from tests.unit.agent.test_agent import FakeControl, environ
from weft.agent import identity, unix_http
from weft.agent.control import Control
from weft.agent.identity import Identities
from weft.agent.instance import Instance, Plan
from weft.agent.machine import Machine
from weft.agent.ports import Ports
from weft.agent.processes import Identity, Namespace
from weft.agent.proxy import Proxy
from weft.agent.registered import Registered
from weft.agent.settings import from_environ
from weft.agent.svids import Holder, Snapshot
from weft.agent.trust import Svid
from weft.identity import proc
from weft.identity.attest import Facts
from weft.identity.wire import HostTrust, ProxyTrust, SvidAnswer, TrustLine
from weft.model.mesh import Attest, ProcessSpec
from weft.model.service import Capture
from weft.paths import prepare, public_directory

if TYPE_CHECKING:
    from weft.agent.machine import Unit

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class FakeUnits:
    def __init__(self, *units: Unit) -> None:
        self.units = units

    def all(self) -> tuple[Unit, ...]:
        return self.units


def spec(**more: Any) -> ProcessSpec:  # noqa: ANN401 - its fields
    first: dict[str, Any] = {"namespace": "default", "name": "a", "service": "a", "version": "v1", "command": ("x",)}
    return ProcessSpec(**(first | more))


class Made:
    def __init__(self, tmp_path: Path) -> None:
        self.settings = from_environ(environ(tmp_path))
        paths = self.settings.paths
        assert prepare(paths) == ()
        assert public_directory(paths.workload_socket.parent) is None
        machine = Machine(self.settings, Path("/bin/true"), Ports(str(tmp_path)), lambda _: b"", lambda: None, False)
        self.instance = Instance(Plan(spec(), Capture.PROXY, ()), machine)
        self.bare = Instance(Plan(spec(name="b"), Capture.NONE, ()), machine)
        self.other = Registered(spec(name="c", command=(), attest=Attest(uid="990")), machine)
        self.control = Control(paths, "here")
        units: Any = FakeUnits(self.instance, self.bare, self.other)
        self.identities = Identities(self.settings, self.control, units)


def facts(**more: Any) -> Facts:  # noqa: ANN401 - its fields
    return Facts(**({"pid": 5, "started": 6, "uid": 1, "gid": 1} | more))


async def test_proxies_and_the_host_have_svids_and_applications_when_they_ask(tmp_path: Path) -> None:
    made = Made(tmp_path)
    assert made.identities._wanted() == {"sidecar/default/a", "host/here"}
    assert made.identities._nodes() == {"sidecar/default/a", "sidecar/default/b", "sidecar/default/c", "host/here"}
    assert not made.identities.workload_api.hashing()


async def test_a_process_is_who_the_supervisor_started_or_the_selectors_say(tmp_path: Path) -> None:
    made = Made(tmp_path)
    assert made.identities.entitled(facts()) == ()
    assert made.identities.entitled(facts(uid=990)) == ("sidecar/default/c",)
    descriptor = os.open("/proc/self/ns/net", os.O_RDONLY)
    made.instance._namespace = Namespace((descriptor,))
    inside = facts(network=proc.network(os.getpid()))
    assert made.identities.entitled(inside) == ("sidecar/default/a",)
    os.close(descriptor)
    made.instance._namespace = None
    assert made.identities.node_of(5, 6) == ""


async def test_control_hears_what_is_held_as_soon_as_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "FIRST_SVID_SECONDS", 0.05)
    monkeypatch.setattr(identity, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(identity, "REPEAT_SECONDS", 0.05)
    made = Made(tmp_path)
    control = FakeControl(made.settings.paths.control_socket)
    async with anyio.create_task_group() as group:
        group.start_soon(made.identities.run)
        await made.identities.first("sidecar/default/a")  # it waits no longer than it may
        assert Holder("sidecar/default/a") not in made.identities.svids.held.value.svids
        await control.start()
        with anyio.fail_after(20):
            while "host/here" not in control.trust.proxies:  # noqa: ASYNC110 - no event
                await anyio.sleep(0.01)
        assert control.trust.proxies["host/here"].spiffe_id == "spiffe://local/weft/host/here"
        group.cancel_scope.cancel()
    await control.stop()


@pytest.mark.parametrize(
    ("said", "reported"), [(b'{"certificates": []}', True), (b'{"certificates": [{}]}', False), (b"nothing", False)]
)
async def test_a_proxy_that_holds_no_secrets_and_asks_for_none_is_reported_as_what_it_would_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes, reported: bool
) -> None:
    made, node = Made(tmp_path), "sidecar/default/a"
    monkeypatch.setattr(Proxy, "processes", property(lambda _: (Identity(5, 6, "boot"),)))

    async def admin(*_: str) -> unix_http.Answer:
        return unix_http.Answer(200, said)

    monkeypatch.setattr(Proxy, "admin", admin)
    svids = made.identities.svids
    assert (await made.identities.whole_report()).proxies == {}
    line = TrustLine("local", 7, "a1", (), (), ())
    svid = Svid(SvidAnswer(node, "spiffe://local/ns/default/sa/a", (), 90, "a1"), b"")
    svids.held.set(Snapshot({Holder(node): svid}, line))
    expected = {node: ProxyTrust("spiffe://local/ns/default/sa/a", 7, "a1", 90)} if reported else {}
    assert (await made.identities.whole_report()).proxies == expected
    monkeypatch.setattr(Proxy, "processes", property(lambda _: ()))
    assert (await made.identities.whole_report()).proxies == {}, "one that does not run"


class Told:
    """Control as far as reports go: refuses the first ``refusals``, and has the others in ``reports``."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.reports: list[HostTrust] = []

    async def __call__(self, _where: object, _method: str, path: str, body: bytes = b"") -> unix_http.Answer:
        assert path == "/weft/v1/hosts/here/trust"
        if self.refusals:
            self.refusals -= 1
            return unix_http.Answer(503, b"")
        self.reports.append(msgspec.json.decode(body, type=HostTrust))
        return unix_http.Answer(204, b"")


@pytest.mark.parametrize("status", [401, 403])
async def test_a_host_that_is_refused_for_who_it_is_does_not_say_it_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Each time would stand in the audit log."""
    made = Made(tmp_path)

    async def refused(*_: object, **__: object) -> unix_http.Answer:
        return unix_http.Answer(status, b"")

    monkeypatch.setattr(unix_http, "request", refused)
    await made.identities._tell(HostTrust({}))


async def test_what_control_refused_to_hear_and_what_nothing_announces_is_not_left_to_the_next_period(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, told, found = Made(tmp_path), Told(refusals=2), HostTrust({})
    monkeypatch.setattr(identity, "REPEAT_SECONDS", 1_000.0)
    monkeypatch.setattr(identity, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(identity, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(unix_http, "request", told)

    async def whole() -> HostTrust:
        return found

    monkeypatch.setattr(made.identities, "whole_report", whole)

    async def until(count: int) -> None:
        with anyio.fail_after(20):
            while len(told.reports) < count:  # noqa: ASYNC110 - no event
                await anyio.sleep(0.005)

    async with anyio.create_task_group() as group:
        group.start_soon(made.identities._report)
        await until(1)
        assert told.refusals == 0
        found = HostTrust({"sidecar/default/a": ProxyTrust("spiffe://local/ns/default/sa/a", 7, "a1", 90)})
        await until(2)
        assert told.reports[-1] == found
        made.identities.sds.taken.set(None)  # control may be another one than the one that was told
        await until(3)
        group.cancel_scope.cancel()
    assert len(told.reports) == 3
