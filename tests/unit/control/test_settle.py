"""The control loop: what wakes it, what it offers, and what it never does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support.control import SHOP, Plane, Proxy, workload, world
from weft.control import settle
from weft.control.pipeline import Pipeline
from weft.xds.protocol import CLUSTER, LISTENER, VIRTUAL_HOST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.dialects.values import Compiled
    from weft.envoy.build import Built
    from weft.model.mesh import Mesh
    from weft.model.view import Demand
    from weft.sources.records import World

pytestmark = pytest.mark.anyio

WEB = "sidecar/default/web-1"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_nothing_is_compiled_before_every_source_has_been_read() -> None:
    plane = Plane()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plane.settler.run)
        plane.publisher.records(world().records, 1)
        await anyio.wait_all_tasks_blocked()
        assert plane.settler.settled.value is None
        plane.publisher.read("test")
        await plane.until(lambda: plane.settler.settled.value is not None)
        tasks.cancel_scope.cancel()


async def test_a_proxy_is_offered_what_it_asks_for_when_it_asks() -> None:
    plane = Plane()
    plane.publish(world(SHOP, workload("web-1"), workload("reviews-1")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plane.settler.run)
        await plane.until(lambda: plane.settler.settled.value is not None)
        proxy = Proxy(plane.fleet, WEB)
        await plane.until(lambda: bool(proxy.answer()) or LISTENER in proxy.client.held)
        assert proxy.held(VIRTUAL_HOST) == set()
        proxy.ask("reviews")
        await plane.until(lambda: bool(proxy.answer()) and bool(proxy.held(VIRTUAL_HOST)))
        assert proxy.held(VIRTUAL_HOST) == {"outbound/reviews"}
        assert "outbound|80||reviews.default.svc.cluster.local" in proxy.held(CLUSTER)
        tasks.cancel_scope.cancel()


async def test_a_change_of_demand_does_not_compile_the_mesh_again() -> None:
    plane = Plane()
    plane.publish(world(SHOP, workload("web-1"), workload("reviews-1")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plane.settler.run)
        await plane.until(lambda: plane.settler.settled.value is not None)
        before = plane.settler.settled.value
        proxy = Proxy(plane.fleet, WEB)
        proxy.ask("reviews")
        await plane.until(lambda: bool(proxy.answer()))
        after = plane.settler.settled.value
        assert before is not None
        assert after is not None
        assert after.compiled is before.compiled
        tasks.cancel_scope.cancel()


async def test_a_source_that_is_not_synced_any_more_takes_nothing_away() -> None:
    plane = Plane()
    plane.publish(world(SHOP, workload("web-1"), workload("reviews-1")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plane.settler.run)
        await plane.until(lambda: plane.settler.settled.value is not None)
        proxy = Proxy(plane.fleet, WEB)
        proxy.ask("reviews")
        await plane.until(lambda: bool(proxy.answer()) and bool(proxy.held(VIRTUAL_HOST)))
        held = {type_url: dict(named) for type_url, named in proxy.client.held.items()}
        plane.publisher.expect("another")
        plane.publisher.records((), 2)
        await anyio.wait_all_tasks_blocked()
        proxy.answer()
        assert proxy.client.held == held
        tasks.cancel_scope.cancel()


async def test_a_proxy_that_left_is_forgotten_with_what_was_built_for_it() -> None:
    plane = Plane()
    plane.publish(world(SHOP, workload("web-1")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plane.settler.run)
        await plane.until(lambda: plane.settler.settled.value is not None)
        proxy = Proxy(plane.fleet, WEB)
        await plane.until(lambda: WEB in _built(plane))
        plane.fleet.leave(proxy.connection)
        await plane.until(lambda: WEB not in _built(plane))
        tasks.cancel_scope.cancel()


async def test_changes_that_come_while_a_build_runs_are_merged_into_one_more_run() -> None:
    plane = Plane()
    plane.publish(world(SHOP, workload("web-1")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plane.settler.run)
        await plane.until(lambda: plane.settler.settled.value is not None)
        runs = plane.settler.runs
        async with plane.settler.turn:
            for number in range(2, 52):
                plane.publish(world(SHOP, workload("web-1"), revision=number))
                await anyio.lowlevel.checkpoint()
        await plane.until(lambda: _revision(plane) == 51)
        assert plane.settler.runs - runs <= 2
        tasks.cancel_scope.cancel()


def _built(plane: Plane) -> set[str]:
    settled = plane.settler.settled.value
    return set(settled.built) if settled else set()


def _revision(plane: Plane) -> int:
    settled = plane.settler.settled.value
    return settled.world.revision if settled else 0


@pytest.mark.parametrize(("size", "here"), [(settle.SMALL, True), (0, False)], ids=["small", "large"])
async def test_only_a_large_mesh_is_made_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, size: int, here: bool
) -> None:
    threads: list[bool] = []
    make = Pipeline.compile

    def compile_noting_where(pipeline: Pipeline, made: World) -> Compiled:
        threads.append(threading.current_thread() is threading.main_thread())
        return make(pipeline, made)

    monkeypatch.setattr(settle, "SMALL", size)
    monkeypatch.setattr(Pipeline, "compile", compile_noting_where)
    plane = Plane()
    plane.publish(world(SHOP, workload("web-1")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plane.settler.run)
        await plane.until(lambda: plane.settler.settled.value is not None)
        tasks.cancel_scope.cancel()
    assert set(threads) == {here}


async def test_who_asks_for_many_names_is_built_for_last_and_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[tuple[str, ...], bool]] = []
    make = Pipeline.build

    def build_noting_where(pipeline: Pipeline, mesh: Mesh, demands: Mapping[str, Demand]) -> dict[str, Built]:
        if demands:
            made.append((tuple(demands), threading.current_thread() is threading.main_thread()))
        return make(pipeline, mesh, demands)

    monkeypatch.setattr(settle, "MANY", 3)
    monkeypatch.setattr(Pipeline, "build", build_noting_where)
    plane = Plane()
    names = ("web-0", "web-1", "web-2")
    plane.publish(world(SHOP, *map(workload, names)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plane.settler.run)
        await plane.until(lambda: plane.settler.settled.value is not None)
        proxies = [Proxy(plane.fleet, f"sidecar/default/{name}") for name in names]
        for proxy, count in zip(proxies, (9, 5, 1), strict=True):
            proxy.ask(*(f"host-{number}" for number in range(count)))
        await plane.until(lambda: all(bool(proxy.answer()) or proxy.held(VIRTUAL_HOST) for proxy in proxies))
        made.clear()
        plane.publish(world(SHOP, *map(workload, names), workload("more"), revision=7))
        await plane.until(lambda: _revision(plane) == 7)
        tasks.cancel_scope.cancel()
    zero, one, two = (f"sidecar/default/{name}" for name in names)
    assert made[-3:] == [((two,), True), ((one,), False), ((zero,), False)]
