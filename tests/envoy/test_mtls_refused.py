"""Who is refused: callers with certificates that are not theirs to show, and servers that are somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.envoy.harness import exchange
from tests.envoy.test_mtls import ASKS, CALLEE, CALLEE_ID, CALLER, CALLER_ID, pair, peers
from tests.support.secrets import HOUR, NOW, Authority
from weft.model.trust import Guard, Peers, Shape, TlsMode, Trust

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.secrets import Svid

pytestmark = [pytest.mark.envoy]
SHAPES = [Shape.RAW, Shape.HTTP]
BAD: dict[str, Callable[[Authority], Svid]] = {
    "expired": lambda own: own.svid(CALLER_ID, valid=(NOW - 2 * HOUR, NOW - HOUR)),
    "not yet valid": lambda own: own.svid(CALLER_ID, valid=(NOW + HOUR, NOW + 2 * HOUR)),
    "of another root": lambda _: Authority().svid(CALLER_ID),
    "of another trust domain": lambda _: Authority("elsewhere").svid("spiffe://elsewhere/ns/default/sa/caller"),
    "of a trust domain that its authority has not": lambda own: own.svid("spiffe://elsewhere/ns/default/sa/caller"),
    "without a URI": lambda own: own.svid(),
    "with two URIs": lambda own: own.svid(CALLER_ID, "spiffe://local/ns/default/sa/admin"),
    "an authority": lambda own: own.svid(CALLER_ID, authority=True),
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("guard", [Guard(mode=TlsMode.STRICT), Guard(mode=TlsMode.PERMISSIVE), ASKS])
@pytest.mark.parametrize("shape", SHAPES)
async def test_only_a_caller_with_one_good_identity_is_heard(envoy_binary: Path, shape: Shape, guard: Guard) -> None:
    async with pair(envoy_binary, peers=peers(shape), guard=guard) as (both, app):
        assert (await exchange(both.out, "web", "/")).status == 200
        secrets = both.mesh.secrets
        own = secrets.authorities[0]
        heard = []
        for number, (name, make) in enumerate(BAD.items()):
            secrets.svids[CALLER] = make(own)
            secrets.changed()
            await both.takes(CALLER, number + 2)
            await both.change(peers=peers(shape, f"{name}"))
            before = app.seen.total()
            if (await exchange(both.out, "web", "/")).status == 200 or app.seen.total() > before:
                heard.append(name)
        secrets.give(CALLER, CALLER_ID)
        await both.takes(CALLER, len(BAD) + 2)
        await both.change(peers=peers(shape, "good"))
        assert (await exchange(both.out, "web", "/")).status == 200
        assert heard == []


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_server_that_is_somebody_else_or_nobody_expected_gets_no_request(
    envoy_binary: Path, shape: Shape
) -> None:
    async with pair(envoy_binary, peers=peers(shape)) as (both, app):
        assert (await exchange(both.out, "web", "/")).status == 200
        for wrong in (peers(shape, "1", "spiffe://local/ns/default/sa/other"), Peers((), shape, epoch="2")):
            await both.change(peers=wrong)
            assert (await exchange(both.out, "web", "/")).status == 503
        await both.change(peers=peers(shape, "3", "spiffe://local/ns/default/sa/other", CALLEE_ID))
        assert (await exchange(both.out, "web", "/")).status == 200
        assert app.seen.total() == 2


@pytest.mark.parametrize("shape", SHAPES)
async def test_who_is_banned_is_refused_and_what_it_had_open_is_closed(envoy_binary: Path, shape: Shape) -> None:
    async with pair(envoy_binary, peers=peers(shape)) as (both, _):
        assert (await exchange(both.out, "web", "/")).status == 200
        await both.change(trust=Trust(banned=(CALLER_ID,)), peers=peers(shape, "1"))
        assert (await exchange(both.out, "web", "/")).status == 503
        await both.change(trust=Trust(), peers=peers(shape, "2"))
        assert (await exchange(both.out, "web", "/")).status == 200


async def test_strict_takes_nothing_in_the_clear(envoy_binary: Path) -> None:
    async with pair(envoy_binary, guard=Guard(mode=TlsMode.STRICT)) as (both, app):
        with pytest.raises((ConnectionError, EOFError)):
            await exchange(both.inside, "web", "/")
        assert app.seen.total() == 0
    async with pair(envoy_binary) as (both, _):
        assert (await exchange(both.inside, "web", "/")).status == 200
        assert await both.stats(CALLEE, "^http.inbound-plain.9080.downstream_cx_total") == {
            "http.inbound-plain.9080.downstream_cx_total": 1
        }
