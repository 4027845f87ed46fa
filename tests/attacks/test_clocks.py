"""C15 and E17: SVIDs that ended while a laptop slept, and clocks that are five minutes off, on the real Envoy.

What ends here is the certificate's time, not the machine's: an SVID of two seconds is as good as a night for one of a day.
"""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING, Final

import pytest

from tests.envoy.harness import exchange, until
from tests.support.attacks import CALLEE, CALLEE_ID, CALLER, CALLER_ID, REQUESTS, context, heard, pair
from tests.support.figures import figure

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.attacks import Pair

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]
MINUTE: Final = datetime.timedelta(minutes=1)
DAY: Final = datetime.timedelta(days=1)
SHORT: Final = datetime.timedelta(seconds=3)
LIMIT_SECONDS: Final = 10.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def give(both: Pair, begins: datetime.datetime, ends: datetime.datetime) -> None:
    """New SVIDs for both proxies."""
    for node, identity in ((CALLER, CALLER_ID), (CALLEE, CALLEE_ID)):
        both.mesh.secrets.svids[node] = both.authority.svid(identity, valid=(begins, ends))
    both.mesh.secrets.changed()


async def answers(both: Pair) -> bool:
    return (await exchange(both.out, "web", "/")).status == 200


async def test_after_a_sleep_past_the_life_of_every_svid_calls_work_as_soon_as_there_are_new_ones(
    envoy_binary: Path,
) -> None:
    async with pair(envoy_binary) as both:
        await both.start_callee()
        await both.start_caller()
        now = datetime.datetime.now(datetime.UTC)
        give(both, now - MINUTE, now + SHORT)
        old = both.mesh.secrets.svids[CALLER]
        tls = context(both.mesh.directory, old, ("weft-raw",))

        async def heard_again() -> bool:
            return bool(await heard(both.inside, tls, REQUESTS["weft-raw"]))

        async def shut() -> bool:
            return datetime.datetime.now(datetime.UTC) > now + SHORT and not await heard_again()

        await until(heard_again)
        await until(shut)
        begun = time.monotonic()
        now = datetime.datetime.now(datetime.UTC)
        give(both, now - 5 * MINUTE, now + DAY)
        await until(lambda: answers(both))
        taken = time.monotonic() - begun
        fresh = context(both.mesh.directory, both.mesh.secrets.svids[CALLER], ("weft-raw",))
        assert await heard(both.inside, fresh, REQUESTS["weft-raw"])
        figure("C15", f"answered {taken:.2f} s after new SVIDs; the old one was refused meanwhile")
        assert taken < LIMIT_SECONDS


@pytest.mark.parametrize("minutes", [-4.9, 4.9])
async def test_two_clocks_that_are_five_minutes_apart_agree_about_every_svid(
    envoy_binary: Path, minutes: float
) -> None:
    """The authority dates an SVID five minutes back; whoever signs by a clock that is off by less is believed."""
    async with pair(envoy_binary) as both:
        now = datetime.datetime.now(datetime.UTC) + minutes * MINUTE
        give(both, now - 5 * MINUTE, now + DAY)
        await both.mesh.proxy(CALLEE, both.callee, both.inside)
        await both.mesh.proxy(CALLER, both.caller, both.out)
        await until(lambda: answers(both))
    figure("E17", f"a clock off by {minutes:+.1f} min: calls work")


async def test_a_clock_that_is_further_off_is_refused_and_not_waved_through(envoy_binary: Path) -> None:
    async with pair(envoy_binary) as both:
        await both.start_callee()
        now = datetime.datetime.now(datetime.UTC) + 6 * MINUTE
        svid = both.authority.svid(CALLER_ID, valid=(now - 5 * MINUTE, now + DAY))
        good = context(both.mesh.directory, both.authority.svid(CALLER_ID), ("weft-raw",))

        async def admitted() -> bool:
            return bool(await heard(both.inside, good, REQUESTS["weft-raw"]))

        await until(admitted)
        assert await heard(both.inside, context(both.mesh.directory, svid, ("weft-raw",)), REQUESTS["weft-raw"]) == b""
