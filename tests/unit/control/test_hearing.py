"""Which hosts are taken for lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support.control import workload
from tests.support.stores import Clock, anything
from weft.control import hearing
from weft.control.hearing import SILENT_SECONDS, silent
from weft.model.service import HostReport
from weft.sources.publish import Publisher
from weft.sources.registry import Host, Registry
from weft.sources.store import Store
from weft.xds.fleet import Fleet

if TYPE_CHECKING:
    from pathlib import Path

BERT = Host(HostReport(host="bert", workloads=(workload("reviews-1"),)), heard=100.0)
NODE = "sidecar/default/reviews-1"
LATE = 100.0 + SILENT_SECONDS + 1


def test_a_host_is_lost_when_neither_its_agent_nor_a_proxy_of_it_is_heard() -> None:
    assert silent((BERT,), frozenset(), "anna", LATE, 0.0) == {"bert"}


def test_a_host_whose_agent_alone_is_silent_is_not_lost() -> None:
    assert silent((BERT,), frozenset({NODE}), "anna", LATE, 0.0) == frozenset()


def test_a_host_that_was_heard_lately_is_not_lost() -> None:
    assert silent((BERT,), frozenset(), "anna", 100.0 + SILENT_SECONDS, 0.0) == frozenset()


def test_controls_own_host_is_never_lost() -> None:
    assert silent((BERT,), frozenset(), "bert", LATE, 0.0) == frozenset()


def test_a_control_plane_that_has_just_begun_to_listen_waits_first() -> None:
    assert silent((BERT,), frozenset(), "anna", LATE, LATE - 1) == frozenset()


@pytest.mark.anyio
async def test_the_registry_says_of_each_report_whether_its_host_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "LOOK_SECONDS", 0.01)
    clock = Clock()
    store = await Store.open(tmp_path, anything, publisher=Publisher(), now=clock)
    registry = Registry(store, clock)
    await registry.put(HostReport(host="bert", workloads=(workload("reviews-1"),), lost=True))
    latest = store.publisher.latest

    def lost() -> bool:
        return any(host.lost for host in latest.value.hosts)

    assert not lost(), "an agent cannot say that its host is lost"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hearing.listen, registry, Fleet(lambda: 0.0), "anna", lambda: clock().timestamp())
        with anyio.fail_after(10):
            await anyio.wait_all_tasks_blocked()
            clock.advance(SILENT_SECONDS + 1)
            while not lost():
                await latest.newer_than(latest.serial)
            await registry.put(HostReport(host="bert", workloads=(workload("reviews-1"),)))
            while lost():
                await latest.newer_than(latest.serial)
        tasks.cancel_scope.cancel()
    await store.close()
