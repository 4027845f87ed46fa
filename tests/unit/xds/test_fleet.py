from __future__ import annotations

import anyio
import pytest

from tests.support.delta import Client, resource, resources
from weft.model.view import Demand
from weft.xds.fleet import Connection, Fleet
from weft.xds.protocol import CLUSTER, VIRTUAL_HOST, Limits, Request, ResourceSet, StreamRejectedError
from weft.xds.status import FleetLimits, SyncState

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Proxy:
    """A peer with a client behind it."""

    def __init__(self, fleet: Fleet, node: str, **first: object) -> None:
        self.fleet = fleet
        self.client = Client(node)
        self.woken = 0
        self.closed = ""
        request = self.client.subscribe(CLUSTER, *first.get("names", ()), initial=first.get("initial"))  # type: ignore[misc, arg-type]  # test values
        self.client.wants[CLUSTER].add("*")
        self.connection: Connection = fleet.join(request, self)

    def wake(self) -> None:
        self.woken += 1

    def close(self, reason: str) -> None:
        self.closed = reason

    def say(self, request: Request) -> None:
        self.fleet.receive(self.connection, request)

    def answer(self) -> int:
        """Take and answer everything; gives how many responses there were."""
        count = 0
        while self.connection.outbox:
            self.say(self.client.take(self.connection.outbox.popleft()))
            count += 1
        return count


def world(*names: str, version: str = "") -> ResourceSet:
    return resources((CLUSTER, [resource(CLUSTER, name, (name + version).encode()) for name in names]))


def test_who_comes_asks_and_goes_is_a_change() -> None:
    fleet = Fleet(Clock())
    serial = fleet.demands.serial
    proxy = Proxy(fleet, "b")
    Proxy(fleet, "a")
    assert fleet.demands.serial > serial
    assert list(fleet.take_changes().items()) == [("a", Demand()), ("b", Demand())]
    assert fleet.take_changes() == {}
    proxy.say(proxy.client.subscribe(VIRTUAL_HOST, "outbound/x"))
    assert fleet.take_changes() == {"b": Demand(hosts=frozenset({"x"}))}
    fleet.leave(proxy.connection)
    assert fleet.take_changes() == {"b": None}
    assert fleet.nodes() == ("a",)
    assert fleet.demand("b") is None


def test_an_offer_reaches_a_connected_proxy_and_no_other() -> None:
    fleet = Fleet(Clock())
    proxy = Proxy(fleet, "a")
    fleet.offer("b", world("x"), Demand(), 1)
    fleet.offer("a", world("x"), Demand(), 1)
    assert proxy.woken == 1
    assert proxy.answer() == 1
    assert proxy.client.held[CLUSTER] == {"x": b"x"}


def test_the_same_offer_again_sends_nothing_and_counts_as_acknowledged() -> None:
    fleet = Fleet(Clock())
    proxy = Proxy(fleet, "a")
    same = world("x")
    fleet.offer("a", same, Demand(), 1)
    proxy.answer()
    fleet.offer("a", same, Demand(), 2)
    assert proxy.answer() == 0
    status = fleet.status_of("a")
    assert status is not None
    assert (status.offered_revision, status.acknowledged_revision) == (2, 2)


async def test_settled_waits_for_the_last_proxy() -> None:
    fleet = Fleet(Clock())
    first, second = Proxy(fleet, "a"), Proxy(fleet, "b")
    Proxy(fleet, "never offered anything")
    for node in ("a", "b"):
        fleet.offer(node, world("x"), Demand(), 7)
    done = anyio.Event()

    async def wait() -> None:
        await fleet.settled(7)
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        first.answer()
        await anyio.wait_all_tasks_blocked()
        assert not done.is_set()
        second.answer()
        with anyio.fail_after(5):
            await done.wait()
    await fleet.settled(7)


async def test_settled_does_not_wait_for_a_proxy_that_went_away() -> None:
    fleet = Fleet(Clock())
    proxy = Proxy(fleet, "a")
    fleet.offer("a", world("x"), Demand(), 1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fleet.settled, 1)
        await anyio.wait_all_tasks_blocked()
        fleet.leave(proxy.connection)


async def test_answered_waits_for_what_is_under_way_whatever_its_revision() -> None:
    fleet = Fleet(Clock())
    first, second = Proxy(fleet, "a"), Proxy(fleet, "b")
    for node in ("a", "b"):
        fleet.offer(node, world("x"), Demand(), 7)
    first.answer()
    done = anyio.Event()

    async def wait() -> None:
        await fleet.answered()
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not done.is_set()
        second.answer()
        with anyio.fail_after(5):
            await done.wait()
    fleet.offer("a", world("x", "y"), Demand(), 7)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fleet.answered)
        await anyio.wait_all_tasks_blocked()
        fleet.leave(first.connection)


def test_status_tells_sending_stale_refused_and_synced() -> None:
    clock = Clock()
    fleet = Fleet(clock, bounds=FleetLimits(stale_seconds=30))
    proxy = Proxy(fleet, "a")
    proxy.client.refuses = {b"bad"}

    def state() -> tuple[SyncState, float]:
        [status] = fleet.status()
        [of_type] = status.types
        assert status.state is of_type.state
        return of_type.state, of_type.seconds

    fleet.offer("a", world("x"), Demand(), 1)
    clock.now = 29
    assert state() == (SyncState.SENDING, 29)
    clock.now = 30
    assert state() == (SyncState.STALE, 30)
    proxy.answer()
    clock.now = 35
    assert state() == (SyncState.SYNCED, 5)
    fleet.offer("a", world("x", "bad"), Demand(), 2)
    proxy.answer()
    assert state() == (SyncState.REFUSED, 0)
    [status] = fleet.status()
    assert [refusal.name for refusal in status.types[0].refusals] == ["bad"]
    assert status.acknowledged_revision == 2
    assert fleet.counts["refused"] == 1


def test_what_a_proxy_held_is_known_for_a_while_after_it_left() -> None:
    clock = Clock()
    fleet = Fleet(clock, bounds=FleetLimits(retain_seconds=600))
    proxy = Proxy(fleet, "a")
    fleet.offer("a", world("x"), Demand(), 1)
    proxy.answer()
    fleet.leave(proxy.connection)
    clock.now = 599
    fleet.sweep()
    held = fleet.held("a")
    assert held is not None
    assert [one.name for one in held[CLUSTER]] == ["x"]
    clock.now = 600
    fleet.sweep()
    assert fleet.held("a") is None
    assert fleet.status() == ()


def test_a_proxy_that_comes_back_waits_for_a_new_offer_and_is_sent_nothing_it_has() -> None:
    fleet = Fleet(Clock())
    proxy = Proxy(fleet, "a")
    fleet.offer("a", world("x"), Demand(), 1)
    proxy.answer()
    fleet.leave(proxy.connection)
    back = Proxy(fleet, "a", initial=proxy.client.versions[CLUSTER])
    assert back.answer() == 0
    status = fleet.status_of("a")
    assert status is not None
    assert status.acknowledged_revision == 0
    fleet.offer("a", world("x"), Demand(), 1)
    assert back.answer() == 0
    status = fleet.status_of("a")
    assert status is not None
    assert status.acknowledged_revision == 1


def test_two_processes_of_one_node_are_served_and_a_third_ends_the_first() -> None:
    fleet = Fleet(Clock())
    first = Proxy(fleet, "a")
    fleet.offer("a", world("x"), Demand(), 1)
    second = Proxy(fleet, "a")
    assert (first.answer(), second.answer()) == (1, 1)
    first.say(first.client.subscribe(VIRTUAL_HOST, "outbound/x"))
    second.say(second.client.subscribe(VIRTUAL_HOST, "outbound/y"))
    assert fleet.demand("a") == Demand(hosts=frozenset({"x", "y"}))
    assert first.closed == ""
    Proxy(fleet, "a")
    assert "newer stream" in first.closed
    assert second.closed == ""


def test_streams_over_the_limit_and_without_a_node_are_rejected_without_a_trace() -> None:
    fleet = Fleet(Clock(), bounds=FleetLimits(streams=1))
    with pytest.raises(StreamRejectedError):
        Proxy(fleet, "")
    Proxy(fleet, "a")
    with pytest.raises(StreamRejectedError, match="at most 1"):
        Proxy(fleet, "b")
    assert fleet.nodes() == ("a",)


def test_a_client_that_does_not_read_is_closed() -> None:
    clock = Clock()
    fleet = Fleet(clock, bounds=FleetLimits(write_seconds=10))
    proxy = Proxy(fleet, "a")
    proxy.connection.writing_since = 0.0
    clock.now = 9.9
    fleet.sweep()
    assert proxy.closed == ""
    clock.now = 10
    fleet.sweep()
    assert "not read" in proxy.closed


def test_time_alone_lets_a_waiting_type_go() -> None:
    clock = Clock()
    fleet = Fleet(clock, Limits(patience_seconds=5))
    proxy = Proxy(fleet, "a")
    proxy.say(proxy.client.subscribe("type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "r"))
    both = resources(
        (CLUSTER, [resource(CLUSTER, "x")]),
        ("type.googleapis.com/envoy.config.route.v3.RouteConfiguration", [resource("", "r")]),
    )
    fleet.offer("a", both, Demand(), 1)
    assert len(proxy.connection.outbox) == 1
    clock.now = 5
    fleet.sweep()
    assert len(proxy.connection.outbox) == 2


def test_withheld_removals_are_shown_and_confirmed() -> None:
    fleet = Fleet(Clock())
    proxy = Proxy(fleet, "a")
    fleet.offer("a", world(*"abcdefghijklmnop"), Demand(), 1)
    proxy.answer()
    fleet.offer("a", world("a"), Demand(), 2)
    assert proxy.answer() == 0
    status = fleet.status_of("a")
    assert status is not None
    assert status.types[0].withheld == 15
    assert fleet.confirm_removals("a") == 15
    proxy.answer()
    assert list(proxy.client.held[CLUSTER]) == ["a"]
    assert fleet.confirm_removals("unknown") == 0


def test_closing_ends_every_stream() -> None:
    fleet = Fleet(Clock())
    proxies = [Proxy(fleet, node) for node in "ab"]
    fleet.close("stopping")
    assert [proxy.closed for proxy in proxies] == ["stopping", "stopping"]


def test_names_over_the_limit_are_counted() -> None:
    fleet = Fleet(Clock(), Limits(names=1))
    Proxy(fleet, "a", names=("x", "y", "z"))
    assert fleet.counts["names_refused"] == 2
