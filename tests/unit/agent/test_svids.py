"""Keys and SVIDs of a host: asked for in one batch, renewed by the wall clock, withdrawn when banned."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import anyio
import msgspec
import pytest

from tests.support.little_authority import Desk, LittleAuthority, identity, served
from weft.agent import svids
from weft.agent.svids import Holder, Svids, Use
from weft.model.service import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from weft.agent.trust import Svid

pytestmark = pytest.mark.anyio

PAY, FRONT = "sidecar/default/pay-v1-0", "sidecar/default/front-v1-0"
DAY = 86_400


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Chance:
    def __init__(self, value: float = 0.5) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


class Where(NamedTuple):
    address: Address


class Host:
    """What lives on a host, and what it holds."""

    def __init__(self, path: Path, clock: Clock, chance: Chance) -> None:
        self.nodes = {PAY, FRONT}
        self.accounts: dict[str, str] = {}
        self.clock = clock
        self.authority = LittleAuthority(clock)
        self.desk: Desk | None = None
        self.svids = Svids(
            Where(Address(path=str(path))),
            lambda: frozenset(self.nodes),
            lambda: frozenset(self.nodes),
            clock,
            chance,
            accounts=lambda: self.accounts,
        )

    def held(self, node: str = PAY) -> Svid | None:
        return self.svids.held.value.svids.get(Holder(node))

    async def until(self, look: Callable[[], object]) -> None:
        with anyio.fail_after(20):
            while not look():  # noqa: ASYNC110 - what is looked at is several things
                await anyio.sleep(0.01)


@asynccontextmanager
async def host(path: Path, chance: Chance | None = None, *, up: bool = True) -> AsyncIterator[Host]:
    made = Host(path, Clock(), chance or Chance())
    async with anyio.create_task_group() as group:
        if up:
            async with served(made.authority, path) as desk:
                made.desk = desk
                group.start_soon(made.svids.run)
                await made.until(lambda: made.held(PAY) and made.held(FRONT))
                yield made
                group.cancel_scope.cancel()
        else:
            group.start_soon(made.svids.run)
            yield made
            group.cancel_scope.cancel()


async def test_everything_is_asked_for_in_one_batch_with_a_key_of_its_own_each(tmp_path: Path) -> None:
    async with host(tmp_path / "s") as here:
        pay, front = here.held(PAY), here.held(FRONT)
        assert pay is not None
        assert front is not None
        assert (pay.spiffe_id, front.spiffe_id) == (identity(PAY), identity(FRONT))
        assert pay.key != front.key
        assert here.desk is not None
        assert here.desk.asked.count("POST /weft/v1/svids") == 1
        application = await here.svids.get(Holder(PAY, Use.APPLICATION))
        assert application is not None
        assert application.spiffe_id == pay.spiffe_id
        assert application.key != pay.key
        assert application.chain[0] != pay.chain[0]
        assert await here.svids.get(Holder("sidecar/default/other-v1-0", Use.APPLICATION)) is None


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.45), (0.5, 0.5), (0.999, 0.5499)])
async def test_it_is_renewed_at_half_life_more_or_less(tmp_path: Path, chance: float, share: float) -> None:
    async with host(tmp_path / "s", Chance(chance)) as here:
        first = here.held()
        here.clock.now += DAY * share - 5
        await here.svids.look()
        assert here.held() is first
        here.clock.now += 10
        await here.svids.look()
        second = here.held()
        assert second is not None
        assert second is not first
        assert first is not None
        assert second.key != first.key


async def test_who_gets_another_service_account_is_asked_for_anew_and_has_nothing_of_before(tmp_path: Path) -> None:
    async with host(tmp_path / "s") as here:
        mine = await here.svids.get(Holder(PAY, Use.APPLICATION))
        first, other = here.held(PAY), here.held(FRONT)
        here.accounts = {PAY: "other"}
        here.svids.hurry()
        await here.until(lambda: here.held(PAY) not in (first, None))
        assert await here.svids.get(Holder(PAY, Use.APPLICATION)) not in (mine, None)
        assert here.held(FRONT) is other


async def test_after_a_sleep_past_its_life_everything_is_renewed_within_seconds(tmp_path: Path) -> None:
    async with host(tmp_path / "s") as here:
        first = (here.held(PAY), here.held(FRONT))
        here.clock.now += 3 * DAY  # the lid was closed; nothing but the wall clock moved
        with anyio.fail_after(5):
            await here.until(lambda: here.held(PAY) is not first[0] and here.held(FRONT) is not first[1])
        found = here.held()
        assert found is not None
        assert found.not_after > here.clock.now


async def test_another_authority_renews_all_leaves_and_a_ban_takes_them_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svids, "SPREAD_SECONDS", 0.0)
    async with host(tmp_path / "s") as here:
        here.authority.prepare()
        await here.until(lambda: all((found := here.held(node)) and found.authority == "a2" for node in (PAY, FRONT)))
        here.authority.ban(identity(PAY))
        await here.until(lambda: here.held(PAY) is None)
        assert here.svids.held.value.withdrawn == {Holder(PAY): identity(PAY)}
        assert here.held(FRONT) is not None
        asked = len(here.authority.signed)
        here.clock.now += DAY
        await here.svids.look()
        assert [one.node for one in here.authority.signed[asked:]] == [FRONT]
        here.authority.ban()
        await here.until(lambda: here.held(PAY) is not None)


async def test_what_is_refused_is_told_once_and_asked_for_again_ever_less_often(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING, svids.__name__)
    monkeypatch.setattr(svids, "LOOK_SECONDS", 60.0)  # only this test looks
    async with host(tmp_path / "s") as here:
        other = "sidecar/default/other-v1-0"
        here.authority.refuses = {other}
        here.nodes.add(other)
        waits = []
        for asked in range(8):
            begun = here.clock.now
            while sum(one.node == other for one in here.authority.signed) == asked:
                here.clock.now += 0.1
                await here.svids.look()
            waits.append(here.clock.now - begun)
        assert waits == sorted(waits)
        assert waits[-1] > 5
        assert caplog.text.count("WFT-1805") == 1
        assert here.svids.problem(Holder(other)).startswith("WFT-1805")
        assert await here.svids.get(Holder(other)) is None
        here.nodes.discard(other)
        await here.svids.look()
        assert here.svids.problem(Holder(other)) == ""


async def test_a_svid_that_peers_would_refuse_is_not_handed_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with host(tmp_path / "s") as here:
        first = here.held()
        here.authority.life_seconds = -10
        here.clock.now += DAY / 2 + 5
        await here.svids.look()
        assert here.held() is first
        assert "control gave a certificate that has ended" in caplog.text


async def test_a_bundle_without_certificates_never_replaces_one_that_has_some(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with host(tmp_path / "s") as here:
        before = here.svids.held.value.trust
        assert before is not None
        here.svids.trusts(msgspec.structs.replace(before, bundles=()))
        assert here.svids.held.value.trust is before
        assert "without certificates" in caplog.text


async def test_while_control_is_away_everything_waits_and_what_there_is_stays(tmp_path: Path) -> None:
    async with host(tmp_path / "s", up=False) as here:
        assert not await here.svids.wait(PAY, 0.05)
        async with served(here.authority, tmp_path / "s"):
            assert await here.svids.wait(PAY, 20)
        found = here.held()
        here.clock.now += DAY / 2 + 5
        await here.svids.look()
        assert here.held() is found


@pytest.mark.parametrize("answer", [b"{}", b'{"svids": []}', b"no json"])
async def test_answers_that_are_none_change_nothing(
    tmp_path: Path, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with host(tmp_path / "s") as here:
        found = here.held()
        monkeypatch.setattr(here.desk, "_answer", lambda *_: answer)
        here.clock.now += DAY / 2 + 5
        await here.svids.look()
        assert here.held() is found


async def test_an_answer_of_another_authority_than_the_newest_is_soon_renewed(tmp_path: Path) -> None:
    async with host(tmp_path / "s") as here:
        trust = here.svids.held.value.trust
        assert trust is not None
        here.svids.trusts(msgspec.structs.replace(trust, authority="a7"))
        first = here.held()
        here.clock.now += svids.SPREAD_SECONDS
        await here.svids.look()
        second = here.held()
        assert second is not first
        here.clock.now += svids.SPREAD_SECONDS
        await here.svids.look()
        assert here.held() is not second
