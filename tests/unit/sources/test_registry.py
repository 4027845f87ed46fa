from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from tests.support.stores import Clock, open_store
from weft.model.service import Address, HostReport, Protocol, State, Workload, WorkloadPort
from weft.sources.database import FILE
from weft.sources.registry import HEARD_SECONDS, Registry

if TYPE_CHECKING:
    from pathlib import Path

    from weft.sources.store import Store


def report(state: State = State.SERVING, *, host: str = "h", name: str = "a") -> HostReport:
    address = Address(path=f"/run/{name}.sock")
    port = WorkloadPort(80, "http", Protocol.HTTP, address, address, state)
    return HostReport(host=host, workloads=(Workload(namespace="default", name=name, host=host, ports=(port,)),))


EMPTY = HostReport(host="h", workloads=())


async def opened(directory: Path, clock: Clock) -> tuple[Store, Registry]:
    store = await open_store(directory)
    registry = Registry(store, clock)
    await registry.load()
    return store, registry


async def test_endpoints_are_known_after_a_restart_before_any_agent_reports(tmp_path: Path) -> None:
    store, registry = await opened(tmp_path, Clock())
    await registry.put(report())
    await registry.put(report(host="g", name="b"))
    assert store.publisher.latest.value.hosts == (report(host="g", name="b"), report())
    await store.close()
    store, registry = await opened(tmp_path, Clock())
    assert store.publisher.latest.value.hosts == (report(host="g", name="b"), report())
    assert store.revision == 0
    await store.close()


async def test_the_newest_report_replaces_the_one_before(tmp_path: Path) -> None:
    store, registry = await opened(tmp_path, Clock())
    await registry.put(report())
    await registry.put(report(name="b"))
    assert store.publisher.latest.value.hosts == (report(name="b"),)
    await store.close()


async def test_an_empty_report_of_a_host_that_served_keeps_the_last_good_one_and_says_so(tmp_path: Path) -> None:
    store, registry = await opened(tmp_path, Clock())
    await registry.put(report())
    problem = await registry.put(EMPTY)
    assert problem is not None
    assert problem.code == "WFT-1518"
    assert store.publisher.latest.value.hosts == (report(),)
    assert list(registry.problems) == [problem]
    assert await registry.put(report(name="b")) is None
    assert not list(registry.problems)
    await store.close()


async def test_an_empty_report_after_draining_is_believed(tmp_path: Path) -> None:
    for state in (State.DRAINING, State.FAILING, State.STARTING):
        store, registry = await opened(tmp_path, Clock())
        await registry.put(report(state))
        assert await registry.put(EMPTY) is None
        assert store.publisher.latest.value.hosts == (EMPTY,)
        await store.close()


async def test_an_unchanged_report_wakes_nobody_and_is_written_only_now_and_then(tmp_path: Path) -> None:
    clock = Clock()
    store, registry = await opened(tmp_path, clock)
    await registry.put(report())
    serial, first = store.publisher.latest.serial, registry.hosts[0].heard
    for seconds in (HEARD_SECONDS - 1, 1.0):
        clock.advance(seconds)
        await registry.put(report())
        assert registry.hosts[0].heard == clock().timestamp()
        stored = await store.locked(lambda database: database.hosts())
        assert stored[0][1] - first == (0.0 if seconds != 1.0 else HEARD_SECONDS)
    assert store.publisher.latest.serial == serial
    await store.close()


async def test_a_deleted_host_is_forgotten_for_good(tmp_path: Path) -> None:
    store, registry = await opened(tmp_path, Clock())
    await registry.put(report())
    assert await registry.delete("other") is False
    assert await registry.delete("h") is True
    assert store.publisher.latest.value.hosts == ()
    await store.close()
    store, registry = await opened(tmp_path, Clock())
    assert registry.hosts == ()
    await store.close()


async def test_a_row_that_cannot_be_read_is_left_to_its_agent(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path, Clock())
    await store.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("INSERT INTO hosts VALUES ('h', '{}', 0)")
        database.commit()
    store, registry = await opened(tmp_path, Clock())
    assert registry.hosts == ()
    assert await registry.put(report()) is None
    await store.close()


async def test_a_disk_that_refuses_a_report_is_a_problem_and_changes_nothing(tmp_path: Path) -> None:
    store, registry = await opened(tmp_path, Clock())
    await registry.put(report())
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("DROP TABLE hosts")
        found = await registry.put(report(name="b"))
        assert found is not None
        assert found.code == "WFT-1504"
        assert not isinstance(await registry.delete("h"), bool)
    assert store.publisher.latest.value.hosts == (report(),)
    await store.close()
