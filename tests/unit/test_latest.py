from __future__ import annotations

import anyio
import pytest

from weft.latest import Latest

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_new_cell_holds_its_first_value_with_serial_zero() -> None:
    cell = Latest("a")
    assert (cell.serial, cell.value) == (0, "a")


async def test_what_is_newer_already_is_returned_at_once() -> None:
    cell = Latest("a")
    cell.set("b")
    with anyio.fail_after(5):
        assert await cell.newer_than(0) == (1, "b")


async def test_a_slow_reader_finds_one_newest_value_and_no_backlog() -> None:
    cell = Latest(0)
    for value in range(1, 100):
        cell.set(value)
    with anyio.fail_after(5):
        assert await cell.newer_than(0) == (99, 99)


async def test_every_waiting_reader_wakes_at_a_change() -> None:
    cell = Latest("a")
    seen: list[tuple[int, str]] = []

    async def read() -> None:
        seen.append(await cell.newer_than(0))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            assert seen == []
            cell.set("b")
    assert seen == [(1, "b")] * 3


async def test_a_reader_that_is_ahead_waits_until_its_serial_is_passed() -> None:
    cell = Latest("a")
    seen: list[tuple[int, str]] = []

    async def read() -> None:
        seen.append(await cell.newer_than(1))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            cell.set("b")
            await anyio.wait_all_tasks_blocked()
            assert seen == []
            cell.set("c")
    assert seen == [(2, "c")]


async def test_setting_an_equal_value_is_a_change_all_the_same() -> None:
    cell = Latest("a")
    cell.set("a")
    assert cell.serial == 1
