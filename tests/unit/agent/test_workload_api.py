"""The Workload API as a client sees it; with the public library and a whole agent: tests/envoy/test_workload_api.py."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import grpc
import pytest
from spiffe._proto import workload_pb2 as messages

from tests.support.little_authority import LittleAuthority, identity, served
from weft.agent import svids, unix_http, workload_api
from weft.agent.svids import Holder, Svids
from weft.agent.workload_api import WorkloadApi
from weft.identity.attest import AttestError, Caller
from weft.model.service import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from weft.identity.attest import Facts

pytestmark = pytest.mark.anyio

PAY, FRONT = "sidecar/default/pay-v1-0", "sidecar/default/front-v1-0"
HEADER = (("workload.spiffe.io", "true"),)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Where(NamedTuple):
    address: Address


class Half:
    def random(self) -> float:
        return 0.5


class Host:
    """The API on a host. ``entitled`` is what every caller is."""

    def __init__(self, path: Path) -> None:
        self.control = path / "control.sock"
        self.socket = path / "api.sock"
        self.authority = LittleAuthority(time.time)
        self.entitled: tuple[str, ...] = (PAY,)
        self.seen: list[Facts] = []
        nodes = frozenset({PAY, FRONT})
        self.svids = Svids(Where(Address(path=str(self.control))), lambda: nodes, lambda: nodes, time.time, Half())
        self.api = WorkloadApi(self.svids, self.who, lambda: False)

    def who(self, facts: Facts) -> tuple[str, ...]:
        self.seen.append(facts)
        return self.entitled

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        async with grpc.aio.insecure_channel(f"unix:{self.socket}") as channel:
            yield channel

    async def ask(self, method: str, message: Any = None, metadata: object = HEADER) -> bytes:  # noqa: ANN401 - any of them
        data = message.SerializeToString() if message is not None else b""
        async with self.client() as client:
            if method.startswith("Fetch") and method != "FetchJWTSVID":
                found = await client.unary_stream(f"/SpiffeWorkloadAPI/{method}")(data, metadata=metadata).read()
                assert isinstance(found, bytes)
                return found
            found = await client.unary_unary(f"/SpiffeWorkloadAPI/{method}")(data, metadata=metadata)
            assert isinstance(found, bytes)
            return found

    async def refused(self, method: str, message: Any = None, metadata: object = HEADER) -> str:  # noqa: ANN401 - as above
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await self.ask(method, message, metadata)
        return str(found.value.code().name)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Host]:
    made = Host(tmp_path)
    async with served(made.authority, made.control), anyio.create_task_group() as group:
        group.start_soon(made.svids.run)
        group.start_soon(made.api.serve, made.socket)
        assert await made.svids.wait(PAY, 20)
        yield made
        group.cancel_scope.cancel()


async def test_a_caller_gets_its_svid_with_a_key_that_is_not_its_proxys(here: Host) -> None:
    found = messages.X509SVIDResponse.FromString(await here.ask("FetchX509SVID"))
    (svid,) = found.svids
    assert svid.spiffe_id == identity(PAY)
    proxy = here.svids.held.value.svids[Holder(PAY)]
    assert svid.x509_svid_key
    assert svid.x509_svid_key != proxy.key
    assert (here.seen[0].pid, here.seen[0].uid) == (os.getpid(), os.geteuid())
    assert here.socket.stat().st_mode & 0o777 == 0o666


async def test_one_that_is_several_gets_all_and_may_choose_one_for_a_token(here: Host) -> None:
    here.entitled = (PAY, FRONT)
    found = messages.X509SVIDResponse.FromString(await here.ask("FetchX509SVID"))
    assert [svid.spiffe_id for svid in found.svids] == [identity(PAY), identity(FRONT)]
    asked = messages.JWTSVIDRequest(audience=["x"], spiffe_id=identity(FRONT))
    tokens = messages.JWTSVIDResponse.FromString(await here.ask("FetchJWTSVID", asked))
    assert [one.spiffe_id for one in tokens.svids] == [identity(FRONT)]
    other = messages.JWTSVIDRequest(audience=["x"], spiffe_id="spiffe://local/ns/a/sa/b")
    assert await here.refused("FetchJWTSVID", other) == "PERMISSION_DENIED"


METHODS = ["FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles"]


@pytest.mark.parametrize("method", [*METHODS, "FetchJWTSVID", "ValidateJWTSVID"])
async def test_without_its_header_or_an_identity_nobody_gets_anything(here: Host, method: str) -> None:
    for metadata in ((), (("workload.spiffe.io", "false"),)):
        assert await here.refused(method, metadata=metadata) == "INVALID_ARGUMENT"
    assert here.seen == []
    here.entitled = ()
    asked = messages.JWTSVIDRequest(audience=["x"]) if method == "FetchJWTSVID" else None
    assert await here.refused(method, asked) == "PERMISSION_DENIED"


async def test_a_process_that_is_not_what_it_was_gets_nothing(here: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(*_: object) -> Facts:
        raise AttestError("process 1 changed while it was looked at")

    monkeypatch.setattr(Caller, "facts", changed)
    assert await here.refused("FetchX509SVID") == "PERMISSION_DENIED"


async def read_all(call: Any) -> None:  # noqa: ANN401 - a call has no type
    """New bundles and a new SVID may come one after the other, and gRPC says how a call ended once everything is read."""
    while await call.read() is not grpc.aio.EOF:  # type: ignore[attr-defined]  # the stubs lack it
        pass


async def test_rotation_is_pushed_and_the_end_of_an_identity_ends_the_stream(
    here: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svids, "SPREAD_SECONDS", 0.0)
    async with here.client() as client:
        call = client.unary_stream("/SpiffeWorkloadAPI/FetchX509SVID")(b"", metadata=HEADER)
        bundles = client.unary_stream("/SpiffeWorkloadAPI/FetchX509Bundles")(b"", metadata=HEADER)
        first, certificates = await call.read(), await bundles.read()
        here.authority.prepare()
        second = await call.read()
        assert second != first
        assert len(await bundles.read()) > len(certificates)
        here.authority.ban(identity(PAY))
        with anyio.fail_after(20), pytest.raises(grpc.aio.AioRpcError) as ended:
            await read_all(call)
        assert ended.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_token_is_made_once_and_told_from_others(here: Host) -> None:
    asked = messages.JWTSVIDRequest(audience=["pay"])
    first = messages.JWTSVIDResponse.FromString(await here.ask("FetchJWTSVID", asked)).svids[0]
    assert messages.JWTSVIDResponse.FromString(await here.ask("FetchJWTSVID", asked)).svids[0] == first
    valid = messages.ValidateJWTSVIDResponse.FromString(
        await here.ask("ValidateJWTSVID", messages.ValidateJWTSVIDRequest(audience="pay", svid=first.svid))
    )
    assert valid.spiffe_id == identity(PAY)
    for audience, token in (("other", first.svid), ("pay", first.svid[:-3]), ("", first.svid), ("pay", "")):
        wrong = messages.ValidateJWTSVIDRequest(audience=audience, svid=token)
        assert await here.refused("ValidateJWTSVID", wrong) == "INVALID_ARGUMENT"
    assert await here.refused("FetchJWTSVID", messages.JWTSVIDRequest()) == "INVALID_ARGUMENT"
    keys = messages.JWTBundlesResponse.FromString(await here.ask("FetchJWTBundles"))
    assert b'"kid":"a1"' in keys.bundles["spiffe://local"]


async def test_a_token_of_who_it_was_before_is_not_given_again(here: Host) -> None:
    """It got another service account, under the same name."""
    await here.ask("FetchJWTSVID", messages.JWTSVIDRequest(audience=["pay"]))
    ((node, spiffe_id, audience),) = here.api._tokens
    assert (node, spiffe_id, audience) == (PAY, identity(PAY), ("pay",))
    before = here.api._tokens.pop((node, spiffe_id, audience))
    here.api._tokens[node, "spiffe://local/ns/default/sa/other", audience] = before
    again = messages.JWTSVIDResponse.FromString(
        await here.ask("FetchJWTSVID", messages.JWTSVIDRequest(audience=["pay"]))
    )
    assert again.svids[0].svid != before[0].token


async def test_what_is_no_request_is_refused(here: Host) -> None:
    class Garbage:
        def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
            return b"\xff\xff"

    for method in (*METHODS, "FetchJWTSVID", "ValidateJWTSVID"):
        assert await here.refused(method, Garbage()) == "INVALID_ARGUMENT"


async def test_while_control_is_away_a_caller_is_asked_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload_api, "SVID_SECONDS", 0.1)
    made = Host(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(made.svids.run)
        group.start_soon(made.api.serve, made.socket)
        with anyio.fail_after(20):
            while not made.socket.exists():  # noqa: ASYNC110 - no event
                await anyio.sleep(0.01)
        asked = messages.ValidateJWTSVIDRequest(audience="a", svid="b")
        assert await made.refused("FetchX509SVID") == "UNAVAILABLE"
        assert await made.refused("ValidateJWTSVID", asked) == "UNAVAILABLE"
        group.cancel_scope.cancel()


async def test_of_many_who_ask_for_tokens_at_once_control_hears_a_few_at_a_time(
    here: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.entitled = (PAY,)
    real, asking, most, asked = unix_http.request, 0, 0, 0

    async def request(*args: Any, **more: Any) -> unix_http.Answer:  # noqa: ANN401 - handed on
        nonlocal asking, most, asked
        if not str(args[2]).endswith("/jwt-svids"):
            return await real(*args, **more)
        asking, asked = asking + 1, asked + 1
        most = max(most, asking)
        try:
            await anyio.wait_all_tasks_blocked()
            return await real(*args, **more)
        finally:
            asking -= 1

    await here.ask("FetchX509SVID")
    spiffe_id = identity(PAY)
    monkeypatch.setattr(unix_http, "request", request)
    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(here.api._token, PAY, spiffe_id, (f"audience-{number}",))
            group.start_soon(here.api._token, PAY, spiffe_id, ("the same",))
    assert most == workload_api.ASKED_AT_ONCE
    assert asked < 200


@pytest.mark.parametrize(("status", "code"), [(403, "PERMISSION_DENIED"), (503, "UNAVAILABLE")])
async def test_a_token_that_control_does_not_give_is_not_given(
    here: Host, status: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(*_: object, **__: object) -> unix_http.Answer:
        return unix_http.Answer(status, b"{}")

    await here.ask("FetchX509SVID")
    monkeypatch.setattr(unix_http, "request", answer)
    assert await here.refused("FetchJWTSVID", messages.JWTSVIDRequest(audience=["pay"])) == code
