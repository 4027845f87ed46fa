"""Secrets for the proxies of this host and for nobody else; with real Envoys: tests/envoy/test_sds.py."""

from __future__ import annotations

import os
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import grpc
import msgspec
import pytest

from tests.support.little_authority import LittleAuthority, identity
from weft.agent import sds, trust
from weft.agent.sds import Sds
from weft.agent.secrets import METHOD, TYPE_URL
from weft.agent.svids import Holder, Snapshot
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.envoy.protos.google import rpc
from weft.identity import proc
from weft.identity.wire import CsrRequest, ProxyTrust
from weft.latest import Latest
from weft.names import BUNDLES, SVID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

PAY, FRONT = "sidecar/default/pay-v1-0", "sidecar/default/front-v1-0"
AUTHORITY = LittleAuthority(time.time)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def svid(node: str) -> trust.Svid:
    key = trust.make_key()
    (answer,) = AUTHORITY.sign([CsrRequest(node, trust.make_csr(key))]).svids
    return trust.Svid(answer, trust.key_der(key))


class Host:
    def __init__(self, path: Path) -> None:
        self.path = path / "sds.sock"
        self.held: Latest[Snapshot] = Latest(Snapshot())
        self.nodes = {(os.getpid(), proc.started(os.getpid())): PAY}
        self.sds = Sds(self.held, lambda pid, started: self.nodes.get((pid, started), ""))

    def hold(self, *nodes: str) -> None:
        svids = {Holder(node): svid(node) for node in nodes}
        self.held.set(Snapshot(MappingProxyType(svids), AUTHORITY.line.value))

    async def until(self, what: object) -> None:
        with anyio.fail_after(20):
            while self.sds.report() != what:  # noqa: ASYNC110 - the report has no event of its own
                await anyio.sleep(0.01)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Host]:
    made = Host(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(made.sds.serve, made.path)
        with anyio.fail_after(20):
            while not made.path.exists():  # noqa: ASYNC110 - no event
                await anyio.sleep(0.01)
        yield made
        group.cancel_scope.cancel()


def connect(here: Host) -> grpc.aio.Channel:
    """A connection of its own: another's failure shall not make this one wait."""
    return grpc.aio.insecure_channel(f"unix:{here.path}", options=(("grpc.use_local_subchannel_pool", 1),))


class Stream:
    """As an Envoy asks."""

    def __init__(self, channel: Any) -> None:  # noqa: ANN401 - the stubs want more of a call than there is
        self._call = channel.stream_stream(METHOD)()

    async def say(
        self,
        node: str = "",
        *,
        subscribe: tuple[str, ...] = (),
        nonce: str = "",
        error: str = "",
        type_url: str = TYPE_URL,
    ) -> None:
        request = discovery.DeltaDiscoveryRequest(
            node=core.Node(id=node),
            type_url=type_url,
            resource_names_subscribe=subscribe,
            response_nonce=nonce,
            error_detail=rpc.Status(message=error) if error else None,
        )
        await self._call.write(request.SerializeToString())

    async def hear(self) -> discovery.DeltaDiscoveryResponse:
        with anyio.fail_after(20):
            return discovery.DeltaDiscoveryResponse.FromString(await self._call.read())

    async def ask(self) -> None:
        """Ask for secrets, and hear an answer."""
        await self.say(PAY, subscribe=(SVID,))
        await self.hear()

    async def end(self) -> str:
        with anyio.fail_after(20):
            return str((await self._call.code()).name)

    async def garbage(self) -> None:
        await self._call.write(b"\xff\xff")


async def test_a_proxy_gets_its_own_secrets_as_they_come_and_what_it_took_is_reported(here: Host) -> None:
    async with connect(here) as channel:
        own, bundles = Stream(channel), Stream(channel)
        await own.say(PAY, subscribe=(SVID,))
        await bundles.say(PAY, subscribe=(BUNDLES,))
        await here.until({PAY: ProxyTrust("", 0, "", 0)})
        here.hold(PAY, FRONT)
        first, trusted = await own.hear(), await bundles.hear()
        assert [one.name for one in (*first.resources, *trusted.resources)] == [SVID, BUNDLES]
        mine = here.held.value.svids[Holder(PAY)]
        assert mine.chain[0] in _der(first)
        await own.say(nonce=first.nonce)
        await bundles.say(nonce=trusted.nonce)
        await here.until({PAY: ProxyTrust(identity(PAY), 1, "a1", int(mine.not_after))})
        banned = Snapshot(trust=AUTHORITY.line.value, withdrawn=MappingProxyType({Holder(PAY): identity(PAY)}))
        here.held.set(banned)
        worthless = await own.hear()
        assert mine.chain[0] not in _der(worthless)
        await own.say(nonce=worthless.nonce)
        await here.until({PAY: ProxyTrust(identity(PAY), 1, "", 0)})
        here.held.set(msgspec.structs.replace(banned, svids=MappingProxyType({Holder(FRONT): svid(FRONT)})))
        here.held.set(msgspec.structs.replace(here.held.value, withdrawn=MappingProxyType({})))
        assert list((await own.hear()).removed_resources) == [SVID]
    await here.until({})


def _der(response: discovery.DeltaDiscoveryResponse) -> bytes:
    from cryptography import x509  # noqa: PLC0415 - here alone
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - as above

    from weft.envoy import api  # noqa: PLC0415 - as above
    from weft.envoy.protos.envoy.extensions.transport_sockets.tls import v3 as tls  # noqa: PLC0415 - as above

    chain = api.unpack_as(tls.Secret, response.resources[0].resource).tls_certificate.certificate_chain.inline_bytes
    return b"".join(one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(chain))


async def test_of_two_processes_of_one_proxy_the_older_secrets_are_reported(here: Host) -> None:
    async with connect(here) as channel:
        old, new = Stream(channel), Stream(channel)
        here.hold(PAY)
        first = here.held.value.svids[Holder(PAY)]
        await old.say(PAY, subscribe=(SVID,))
        await old.say(nonce=(await old.hear()).nonce)
        await here.until({PAY: ProxyTrust(identity(PAY), 0, "a1", int(first.not_after))})
        later = svid(PAY)
        later.not_after, later.authority = first.not_after + 60, "a2"
        here.held.set(msgspec.structs.replace(here.held.value, svids=MappingProxyType({Holder(PAY): later})))
        await new.say(PAY, subscribe=(SVID,))
        await new.say(nonce=(await new.hear()).nonce)
        assert here.sds.report()[PAY].authority == "a1"
        await old.say(nonce=(await old.hear()).nonce)
        await here.until({PAY: ProxyTrust(identity(PAY), 0, "a2", int(later.not_after))})


async def test_who_asks_for_anothers_or_for_something_else_is_refused(
    here: Host, caplog: pytest.LogCaptureFixture
) -> None:
    here.hold(PAY, FRONT)
    async with connect(here) as channel:
        liar, other, garbage, refusing = (Stream(channel) for _ in range(4))
        await liar.say(FRONT, subscribe=(SVID,))
        assert await liar.end() == "PERMISSION_DENIED"
        assert f"refused secrets of {FRONT} to the proxy of {PAY}" in caplog.text
        await other.say(PAY, subscribe=("x",), type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster")
        assert await other.end() == "INVALID_ARGUMENT"
        await garbage.garbage()
        assert await garbage.end() == "INVALID_ARGUMENT"
        await refusing.say(PAY, subscribe=(SVID,))
        await refusing.say(nonce=(await refusing.hear()).nonce, error="no such curve")
        with anyio.fail_after(20):
            while "does not take its secrets: no such curve" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                await anyio.sleep(0.01)


async def test_a_process_that_is_no_proxy_of_ours_is_refused_and_one_that_just_starts_is_waited_for(
    here: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sds, "KNOWN_SECONDS", 0.05)
    known, here.nodes = here.nodes, {}
    here.hold(PAY)
    async with connect(here) as channel:
        stream = Stream(channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await stream.ask()
    assert f"refused secrets to uid {os.geteuid()}: no proxy of ours, process {os.getpid()}" in caplog.text
    monkeypatch.setattr(sds, "KNOWN_SECONDS", 20)
    async with connect(here) as channel, anyio.create_task_group() as group:

        async def start() -> None:
            await anyio.lowlevel.checkpoint()
            here.nodes = known

        stream = Stream(channel)
        group.start_soon(start)
        await stream.say(PAY, subscribe=(SVID,))
        assert (await stream.hear()).resources


async def test_a_process_that_ended_before_it_was_looked_at_is_refused(
    here: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(_: object) -> None:
        raise sds.attest.AttestError("process 1 has ended")  # type: ignore[attr-defined]  # where it is raised

    monkeypatch.setattr(sds.attest, "caller", ended)  # type: ignore[attr-defined]  # as above
    async with connect(here) as channel:
        stream = Stream(channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await stream.ask()
    assert "refused secrets to a process that has ended" in caplog.text
