"""Promises A1, A3, A4, A5, A6, A13 and A14 on the running system, in short; ``python -m benchmarks.faults`` measures
them in full.

Counts are those of the promise. Times have slack: a test machine may be busy with other things.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import control_faults, fleet_faults
from tests.support.system import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.system import System

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]
RATE = 50
SLACK = 3.0


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def system() -> AsyncIterator[System]:
    """One for all: each scenario leaves it as it was."""
    async with running(control="false") as made:
        yield made


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="weft-") as made:
        yield Path(made)


async def test_a_killed_control_plane_is_not_noticed_and_sends_nothing_again_when_it_is_back(system: System) -> None:
    found = await control_faults.killed(system, away=2, rate=RATE)
    assert found.figures["failed"] == found.figures["resources_sent"] == 0, str(found)
    assert found.figures["reconnect_seconds"] < 5 * SLACK, str(found)


@pytest.mark.parametrize("store", ["empty", "unsynced"])
async def test_a_control_plane_with_a_bad_store_takes_nothing_away(system: System, store: str) -> None:
    found = await control_faults.bad_store(system, control_faults.STORES[store], seconds=2, rate=RATE)
    assert found.figures["failed"] == found.figures["removed"] == found.figures["ended"] == 0, str(found)


async def test_a_hanging_control_plane_is_noticed_and_found_again(system: System) -> None:
    found = await control_faults.hangs(system, seconds=10, rate=RATE)
    assert found.figures["failed"] == found.figures["resources_sent"] == 0, str(found)
    assert found.figures["reconnect_seconds"] < 5 * SLACK, str(found)


async def test_a_control_plane_in_a_crash_loop_tells_no_proxy_anything_twice(system: System) -> None:
    found = await control_faults.crash_loop(system, times=3, rate=RATE)
    assert found.figures["failed"] == found.figures["updates"] == 0, str(found)


async def test_a_proxy_starts_while_control_is_away(system: System) -> None:
    found = await control_faults.proxy_starts_alone(system, seconds=2, rate=RATE)
    assert found.figures["failed"] == 0, str(found)
    assert found.figures["ready_seconds"] < 3 * SLACK, str(found)


@pytest.mark.usefixtures("untraced")
async def test_many_proxies_that_come_at_once_are_all_served(directory: Path) -> None:
    found = await fleet_faults.all_reconnect(directory, count=200)
    assert found.figures["acked_seconds"] < 20, str(found)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("mode", ["nack", "silent"])
async def test_a_proxy_that_misbehaves_holds_up_no_other(directory: Path, mode: str) -> None:
    found = await fleet_faults.one_misbehaves(directory, mode, count=10, changes=8, turns=1)
    assert found.figures["worst_seconds"] < 5, str(found)
