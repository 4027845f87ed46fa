"""One process kept alive."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from weft.agent.child import Child, ChildState, Status, delay_after
from weft.agent.processes import Launch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def child(tmp_path: Path, code: str) -> Child:
    async def prepare() -> tuple[Launch, dict[str, str]]:
        return Launch((sys.executable, "-c", code), {}, tmp_path / "log"), {"note": "kept"}

    return Child(tmp_path / "record.json", tmp_path / "log", prepare)


async def until(one: Child, wanted: Callable[[Status], bool]) -> Status:
    serial = -1
    with anyio.fail_after(20):
        while True:
            serial, status = await one.status.newer_than(serial)
            if wanted(status):
                return status


def test_delays_double_up_to_half_a_minute() -> None:
    assert [delay_after(failures) for failures in (1, 2, 3, 30)] == [0.1, 0.2, 0.4, 30.0]


async def test_it_runs_until_it_is_stopped_and_then_leaves_no_record(tmp_path: Path) -> None:
    one = child(tmp_path, "import time; time.sleep(60)")
    async with anyio.create_task_group() as group:
        group.start_soon(one.run)
        await until(one, lambda status: status.state is ChildState.RUNNING)
        assert (tmp_path / "record.json").exists()
        await one.stop(10)
    assert one.status.value.state is ChildState.STOPPED
    assert not (tmp_path / "record.json").exists()


async def test_one_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    one = child(tmp_path, code)
    async with anyio.create_task_group() as group:
        group.start_soon(one.run)
        with anyio.fail_after(20):
            while not (tmp_path / "log").exists() or "ready" not in (tmp_path / "log").read_text():  # noqa: ASYNC110 - no event
                await anyio.sleep(0.01)
        await one.stop(0.05)
    assert one.pid == 0


async def test_one_that_keeps_failing_is_in_a_crash_loop_and_says_why(tmp_path: Path) -> None:
    one = child(tmp_path, "print('no disk'); raise SystemExit(7)")
    async with anyio.create_task_group() as group:
        group.start_soon(one.run)
        status = await until(one, lambda status: status.state is ChildState.CRASH_LOOP)
        await one.stop(10)
    assert status.restarts == 3
    assert "exit status 7" in status.reason
    assert "no disk" in status.reason


async def test_one_that_cannot_be_started_says_so(tmp_path: Path) -> None:
    async def prepare() -> tuple[Launch, dict[str, str]]:
        return Launch(("/absent/program",), {}, tmp_path / "log"), {}

    one = Child(tmp_path / "record.json", tmp_path / "log", prepare)
    async with anyio.create_task_group() as group:
        group.start_soon(one.run)
        status = await until(one, lambda status: status.restarts > 0)
        await one.stop(10)
    assert "/absent/program" in status.reason


async def test_a_cancelled_run_leaves_the_process_to_the_next_owner(tmp_path: Path) -> None:
    one = child(tmp_path, "import time; time.sleep(60)")
    async with anyio.create_task_group() as group:
        group.start_soon(one.run)
        pid = (await until(one, lambda status: status.state is ChildState.RUNNING)).pid
        group.cancel_scope.cancel()
    other = child(tmp_path, "raise SystemExit(1)")
    assert other.adopt()
    assert (other.pid, other.notes) == (pid, {"note": "kept"})
    async with anyio.create_task_group() as group:
        group.start_soon(other.run)
        await other.stop(10)
    assert not child(tmp_path, "").adopt()


async def test_a_restart_replaces_the_process_at_once(tmp_path: Path) -> None:
    one = child(tmp_path, "import time; time.sleep(60)")
    async with anyio.create_task_group() as group:
        group.start_soon(one.run)
        pid = (await until(one, lambda status: status.state is ChildState.RUNNING)).pid
        await one.restart(10)
        await until(one, lambda status: status.pid not in (0, pid))
        await one.stop(10)
