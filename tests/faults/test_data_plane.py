"""Promises C1 to C4 and C7 to C11 on the running system, in short; ``python -m benchmarks.faults`` measures them in full.

Counts are those of the promise. Times have slack: a test machine may be busy with other things.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import data_faults
from tests.support.system import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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
    async with running(data_faults.MESH) as made:
        yield made


async def test_only_requests_under_way_fail_when_an_endpoint_dies_and_nobody_is_told(system: System) -> None:
    found = await data_faults.endpoint_dies(system, seconds=4, rate=RATE)
    # Where this machine is so busy that a dozen requests wait at once, the retry budget can run out for a few.
    assert found.figures["beyond_in_flight"] <= 3, str(found)


async def test_a_service_is_scaled_down_without_a_failed_request(system: System) -> None:
    found = await data_faults.scaled_down(system, seconds=4, rate=RATE)
    assert found.figures["failed"] == 0, str(found)


async def test_a_service_is_scaled_up_and_nothing_is_sent_to_what_does_not_listen_yet(system: System) -> None:
    found = await data_faults.scaled_up(system, seconds=5, rate=RATE)
    assert found.figures["failed"] == 0, str(found)
    assert found.figures["idle"] == 0, str(found)


async def test_a_service_recovers_with_its_endpoints_when_all_of_them_were_dead(system: System) -> None:
    found = await data_faults.all_endpoints_die(system, seconds=6, rate=RATE)
    assert found.figures["recovered_seconds"] < 1 * SLACK, str(found)


async def test_a_source_that_suddenly_says_nothing_is_not_believed(system: System) -> None:
    found = await data_faults.source_says_nothing(system, seconds=3, rate=RATE)
    assert found.figures["failed"] == 0, str(found)


async def test_a_killed_envoy_is_started_again(system: System) -> None:
    found = await data_faults.envoy_killed(system, seconds=3, rate=RATE)
    assert found.figures["restarted_seconds"] < 2 * SLACK, str(found)


async def test_every_proxy_is_upgraded_without_a_failed_request(system: System) -> None:
    found = await data_faults.proxies_upgraded(system, seconds=4, rate=RATE)
    assert found.figures["failed"] == found.figures["same"] == 0, str(found)


async def test_a_workload_is_stopped_and_started_without_a_failed_request(system: System) -> None:
    found = await data_faults.workload_stopped(system, seconds=5, rate=RATE)
    assert found.figures["failed"] == 0, str(found)


async def test_without_its_agent_everything_serves_and_the_next_agent_adopts_it(system: System) -> None:
    found = await data_faults.agent_killed(system, away=3, rate=RATE)
    assert found.figures["failed"] == found.figures["not_adopted"] == found.figures["surplus"] == 0, str(found)
