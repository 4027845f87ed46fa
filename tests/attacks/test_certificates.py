"""E3 and impersonation: every wrong certificate against what our builders make, on the real Envoy, from both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import pytest

from tests.envoy.harness import exchange, until
from tests.support.attacks import (
    CALLEE_ID,
    CALLER_ID,
    REQUESTS,
    SHAPES,
    UNSEEN_BY_CALLEES,
    UNSEEN_BY_CALLERS,
    context,
    heard,
    impostor,
    pair,
    wrong_certificates,
)
from tests.support.figures import figure
from weft.model.service import Protocol
from weft.model.trust import Guard, Peers, Shape, TlsMode

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]
OTHER_ID: Final = "spiffe://local/ns/default/sa/other"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.TCP])
async def test_a_strict_port_takes_no_wrong_certificate_of_any_kind_by_any_shape(
    envoy_binary: Path, protocol: Protocol
) -> None:
    shapes = [Shape.RAW, Shape.HTTP] if protocol.is_http else [Shape.RAW, Shape.TUNNEL]
    async with pair(envoy_binary, protocol) as both:
        await both.start_callee()
        good = both.authority.svid(CALLER_ID)
        for shape in shapes:
            alpn = SHAPES[shape]

            async def admitted() -> bool:
                return bool(await heard(both.inside, context(both.mesh.directory, good, (alpn,)), REQUESTS[alpn]))  # noqa: B023

            await until(admitted)
        accepted, tried = [], 0
        corpus = wrong_certificates(both.authority, CALLER_ID)
        before = both.app.seen.total()
        for name, svid in corpus.items():
            for alpn in (*(SHAPES[shape] for shape in shapes), "h2", "http/1.1", "istio", ""):
                tls = context(both.mesh.directory, svid, (alpn,) if alpn else ())
                tried += 1
                if await heard(both.inside, tls, REQUESTS.get(alpn, REQUESTS["weft-raw"])):
                    accepted.append((name, alpn))
        plain = await heard(both.inside, None, REQUESTS["weft-raw"])
        unseen = {name for name, _ in accepted}
        figure("E3", f"{protocol.value}: {len(accepted)} of {tried} accepted ({sorted(unseen)}), {len(corpus)} kinds")
        assert unseen == UNSEEN_BY_CALLEES
        assert plain == b""
        by_raw = sum(alpn == "weft-raw" for _, alpn in accepted)
        assert both.app.seen.total() - before == by_raw


async def test_a_valid_certificate_with_another_application_protocol_gets_nowhere(envoy_binary: Path) -> None:
    """There is a chain for each shape and none for anything else, so that nothing is let past a chain's locks."""
    async with pair(envoy_binary) as both:
        await both.start_callee()
        good = both.authority.svid(CALLER_ID)
        for alpn in ("h2", "http/1.1", "istio", "weft-tunnel", "weft-rawx", ""):
            tls = context(both.mesh.directory, good, (alpn,) if alpn else ())
            assert await heard(both.inside, tls, REQUESTS["weft-raw"]) == b"", alpn


async def test_a_permissive_port_believes_no_wrong_certificate(envoy_binary: Path) -> None:
    """PERMISSIVE takes plaintext, and still nobody becomes somebody by a certificate that is wrong."""
    async with pair(envoy_binary) as both:
        both.guard = Guard(mode=TlsMode.PERMISSIVE)
        await both.start_callee()
        good = both.authority.svid(CALLER_ID)

        async def admitted() -> bool:
            return bool(
                await heard(both.inside, context(both.mesh.directory, good, ("weft-raw",)), REQUESTS["weft-raw"])
            )

        await until(admitted)
        accepted = []
        for name, svid in wrong_certificates(both.authority, CALLER_ID).items():
            for alpn in ("weft-raw", "weft-http"):
                tls = context(both.mesh.directory, svid, (alpn,))
                if name not in UNSEEN_BY_CALLEES and await heard(both.inside, tls, REQUESTS[alpn]):
                    accepted.append((name, alpn))
        assert not accepted, accepted


@pytest.mark.parametrize("shape", [Shape.RAW, Shape.HTTP])
async def test_a_server_with_another_identity_on_the_callee_s_address_hears_nothing(
    envoy_binary: Path, shape: Shape
) -> None:
    """Impersonation: the address is right and TLS is spoken, and no byte of a request is sent."""
    async with pair(envoy_binary) as both:
        both.peers = Peers(identities=(CALLEE_ID,), shape=shape)
        await both.start_caller()
        corpus = wrong_certificates(both.authority, CALLEE_ID)
        corpus["a valid one of somebody else"] = both.authority.svid(OTHER_ID)
        corpus["a valid one of the caller itself"] = both.authority.svid(CALLER_ID)
        fooled, tried = [], 0
        for name, svid in corpus.items():
            if svid is None:
                continue
            tls = context(both.mesh.directory, svid, (SHAPES[shape],), server=True)
            async with impostor(both.inside, tls) as thief:
                answer = await exchange(both.out, "web", "/secret", headers=[("x-marker", "very-secret")])
                tried += 1
                if thief.received or answer.status != 503:
                    fooled.append((name, answer.status, bytes(thief.received[:200])))
        async with impostor(both.inside, None) as thief:
            answer = await exchange(both.out, "web", "/secret", headers=[("x-marker", "very-secret")])
            assert answer.status == 503
            assert b"very-secret" not in thief.received
        unseen = {each[0] for each in fooled}
        figure("E3", f"impersonation, {shape.value}: {len(fooled)} of {tried + 1} believed ({sorted(unseen)})")
        assert unseen == UNSEEN_BY_CALLERS
        tls = context(both.mesh.directory, both.authority.svid(CALLEE_ID), (SHAPES[shape],), server=True)
        async with impostor(both.inside, tls) as honest:
            await exchange(both.out, "web", "/open")
            assert honest.received, "the attack would not have shown if nobody is ever believed"


async def test_a_service_without_any_identity_is_called_by_nobody(envoy_binary: Path) -> None:
    async with pair(envoy_binary) as both:
        both.peers = msgspec.structs.replace(both.peers, identities=())
        await both.start_caller()
        tls = context(both.mesh.directory, both.authority.svid(CALLEE_ID), ("weft-raw",), server=True)
        async with impostor(both.inside, tls) as thief:
            assert (await exchange(both.out, "web", "/")).status == 503
            assert thief.received == b""
