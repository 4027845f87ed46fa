"""What an agent refused reaches control once, counted, however long control is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import msgspec
import pytest

from weft.agent import refusals
from weft.agent.refusals import BEYOND, MOST, Refusals
from weft.agent.unix_http import Answer, HttpError
from weft.identity.wire import Refused, RefusedHere

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio


class Control:
    """``ways``: what it does with each report in turn, a status or an absence; after that it takes everything."""

    def __init__(self, *ways: int | None) -> None:
        self.ways = list(ways)
        self.taken: list[tuple[Refused, ...]] = []
        self.asked = 0

    async def post(self, body: bytes) -> Answer:
        self.asked += 1
        way = self.ways.pop(0) if self.ways else 204
        if way is None:
            raise HttpError("it is away")
        if way == 204:
            self.taken.append(msgspec.json.decode(body, type=RefusedHere).refusals)
        return Answer(way, b"")


async def told(made: Refusals, control: Control, reports: int) -> Sequence[tuple[Refused, ...]]:
    async with anyio.create_task_group() as group:
        group.start_soon(made.run, control.post)
        with anyio.fail_after(20):
            while control.asked < reports:  # noqa: ASYNC110 - no event
                await anyio.sleep(0.01)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    return control.taken


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "GATHER_SECONDS", 0.01)


async def test_equal_ones_are_counted_together_and_logged_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    made, control = Refusals(), Control()
    for pid in (7, 8, 9):
        made.note("secrets", "uid 1000", pid)
    made.note("secrets", "uid 1001")
    assert await told(made, control, 1) == [(Refused("secrets", "uid 1000", 3), Refused("secrets", "uid 1001", 1))]
    assert [each in caplog.text for each in ("process 7", "process 9")] == [True, True]


@pytest.mark.parametrize("away", [None, 500, 507])
async def test_they_are_kept_while_control_is_away(away: int | None) -> None:
    made, control = Refusals(), Control(away, away)
    made.note("secrets", "uid 1000")
    assert await told(made, control, 3) == [(Refused("secrets", "uid 1000", 1),)]


async def test_a_control_that_does_not_know_them_is_not_asked_again() -> None:
    made, control = Refusals(), Control(404)
    made.note("secrets", "uid 1000")
    assert await told(made, control, 1) == []
    assert made._waiting == {}


async def test_of_different_ones_only_so_many_are_kept() -> None:
    made, control = Refusals(), Control()
    for uid in range(MOST + 30):
        made.note("s" * 1_000, f"uid {uid}")
    [found] = await told(made, control, 1)
    assert len(found) == MOST + 1
    assert found[-1] == Refused(*BEYOND, 30)
    assert len(found[0].what) == refusals.LENGTH
