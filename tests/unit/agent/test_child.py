"""One process kept alive."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from weft.agent import processes
from weft.agent.child import Child, ChildState, Status, delay_after
from weft.agent.processes import Launch

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def child(tmp_path: Path, code: str, *, detached: bool = False) -> Child:
    async def prepare() -> Launch:
        return Launch((sys.executable, "-c", code), {}, tmp_path / "log", detached=detached)

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


async def test_one_that_waits_for_what_never_comes_is_stopped_at_once(tmp_path: Path) -> None:
    waits = anyio.Event()

    async def prepare() -> Launch:
        waits.set()
        await anyio.sleep_forever()
        raise AssertionError

    one = Child(tmp_path / "record.json", tmp_path / "log", prepare)
    async with anyio.create_task_group() as group:
        group.start_soon(one.run)
        await waits.wait()
        with anyio.fail_after(20):
            await one.stop(60)
    assert one.status.value.state is ChildState.STOPPED


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
    async def prepare() -> Launch:
        return Launch(("/absent/program",), {}, tmp_path / "log")

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
    assert other.pid == pid
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


DIES_BEFORE_IT_RECORDS = """
import os, signal, sys
from pathlib import Path
import anyio
from tests.unit.agent.test_child import child
from weft.agent import processes
started = processes.start
async def start(launch):
    print((await started(launch)).pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
processes.start = start
anyio.run(child(Path(sys.argv[1]), "import time; time.sleep(60)", detached=sys.argv[2] == "True").run)
"""


@pytest.mark.parametrize("detached", [False, True])
async def test_an_agent_killed_before_it_noted_whom_it_started_leaves_nobody_that_the_next_does_not_find(
    tmp_path: Path, detached: bool
) -> None:
    command = [sys.executable, "-c", DIES_BEFORE_IT_RECORDS, str(tmp_path), str(detached)]
    with anyio.fail_after(60):
        done = await anyio.run_process(command, check=False)
    assert done.returncode == -9, done.stderr
    one = child(tmp_path, "raise SystemExit(1)")
    assert one.adopt()
    assert one.pid == int(done.stdout)
    again = child(tmp_path, "raise SystemExit(1)")
    assert again.adopt()  # it is noted now
    async with anyio.create_task_group() as group:
        group.start_soon(one.run)
        await one.stop(10)
    assert processes.identify(int(done.stdout)) is None


LEAVES_ITS_SESSION = """
import os, signal, sys, time
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(writing, b"x")
    time.sleep(600)
os.read(reading, 1)
print(sys.argv[1:], flush=True)
"""


async def test_what_has_left_the_session_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    one = child(tmp_path, LEAVES_ITS_SESSION + "time.sleep(600)")
    async with anyio.create_task_group() as group:
        group.start_soon(one.run)
        status = await until(one, lambda status: status.state is ChildState.RUNNING)
        with anyio.fail_after(20):
            while len(bearing(status.pid)) < 2 or not (tmp_path / "log").read_text():  # noqa: ASYNC110 - no event
                await anyio.sleep(0.01)
        found = bearing(status.pid)
        await one.stop(10)
    assert [pid for pid in found if processes.identify(pid)] == []


async def test_what_a_failed_process_left_behind_is_ended_before_it_is_started_again(tmp_path: Path) -> None:
    one = child(tmp_path, LEAVES_ITS_SESSION + "sys.exit(7)")
    async with anyio.create_task_group() as group:
        group.start_soon(one.run)
        first = await until(one, lambda status: status.state is ChildState.WAITING)
        await until(one, lambda status: status.restarts > first.restarts and status.state is ChildState.WAITING)
        # Of two that were left behind only the newest is there still.
        assert len(processes.marked(one._mark)) == 1
        await one.stop(10)
    assert processes.marked(one._mark) == ()


def bearing(pid: int) -> tuple[int, ...]:
    """Everybody who bears the same mark as this process."""
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    marks = [each for each in variables if each.startswith(processes.MARK.encode())]
    return processes.marked(marks[0].partition(b"=")[2].decode()) if marks else ()
