"""Large requests take turns: others have their share in between, and what waits is bounded."""

from __future__ import annotations

import anyio
import pytest

from weft.xds.turns import LONGEST, CrowdedError, Turns

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_between_two_large_requests_others_have_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("weft.xds.turns.anyio.sleep", sleep)
    monkeypatch.setattr("weft.xds.turns.LONGEST", 2.0)
    made = Turns(lambda: now, 1_000)
    order: list[str] = []

    async def one(name: str) -> None:
        nonlocal now
        async with made.turn(100):
            order.append(f"{name} begins at {now:g}")
            now += 0.5

    async with anyio.create_task_group() as tasks:
        for name in "ab":
            tasks.start_soon(one, name)
    assert order == ["a begins at 100", "b begins at 102"]
    assert slept == [1.5, 1.5]


async def test_what_waits_is_bounded_and_one_is_always_taken() -> None:
    made = Turns(lambda: 0.0, 1_000)
    async with made.turn(5_000):
        with pytest.raises(CrowdedError):
            async with made.turn(1):
                pass
    async with made.turn(400), anyio.create_task_group() as tasks:

        async def wait() -> None:
            async with made.turn(600):
                pass

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(CrowdedError):
            async with made.turn(1):
                pass
        tasks.cancel_scope.cancel()
    async with made.turn(1_000):
        pass


async def test_who_was_stopped_in_a_turn_does_not_hold_up_others_for_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    times, slept = iter((0.0, 60.0)), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("weft.xds.turns.anyio.sleep", sleep)
    async with Turns(lambda: next(times), 1_000).turn(1):
        pass
    assert slept == [LONGEST]


async def test_a_turn_that_fails_is_over() -> None:
    made = Turns(lambda: 0.0, 1_000)
    with pytest.raises(ValueError, match="bad"):
        async with made.turn(1):
            raise ValueError("bad")
    async with made.turn(1):
        pass
