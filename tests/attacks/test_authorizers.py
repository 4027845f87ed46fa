"""D13: an external authorizer that is down, slow or broken. What it should have been asked about is refused, unless the provider
says ``failOpen``; then it passes and is counted. What no rule matches is not asked about and passes.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import msgspec
import pytest

from tests.envoy.harness import service
from tests.envoy.policy_rig import NODE, Guarded, guarded
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.service.auth import v3 as auth
from weft.envoy.protos.google import rpc
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Provider, Question, Text, TextKind
from weft.values import Milliseconds

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]
SOURCE = "AuthorizationPolicy/default/ask"
HTTP = Provider(
    name="check",
    cluster=str(service("check")),
    grpc=False,
    timeout=Milliseconds(300),
    service="check.default",
    headers_upstream=("x-user",),
    headers_on_deny=("x-app",),
)
GRPC = msgspec.structs.replace(HTTP, grpc=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def asking(provider: Provider | None) -> Guard:
    rule = AuthRule(
        source=f"{SOURCE}/rules/0",
        operations=((Question(Attribute.PATH, (Text(TextKind.PREFIX, "/secret"),)),),),
    )
    return Guard(policies=(AuthPolicy(source=SOURCE, action=Action.CUSTOM, rules=(rule,), provider=provider),))


async def counted(edge: Guarded, name: str) -> int:
    text = await edge.mesh.admin(NODE, f"/stats?filter=ext_authz.check.{name}$")
    return int(text.split(": ")[1])


async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An authorizer that hangs up."""
    del reader
    writer.close()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An authorizer that never answers."""
    await reader.read()
    writer.close()


async def babbling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An authorizer that answers something else than HTTP."""
    await reader.read(65536)
    writer.write(b"\x00\xffyes, certainly\r\n\r\n" * 100)
    writer.close()


BROKEN = {"hangs up": refusing, "never answers": silent, "babbles": babbling}


@pytest.mark.parametrize("provider", [HTTP, GRPC], ids=["http", "grpc"])
@pytest.mark.parametrize("how", [*BROKEN, "is not there"])
async def test_what_cannot_be_asked_about_is_refused(envoy_binary: Path, how: str, provider: Provider) -> None:
    async with guarded(envoy_binary, Guard()) as edge:
        if how in BROKEN:
            edge.grpc["check"] = await edge.mesh.serve_raw("check", BROKEN[how])
        await edge.guard(asking(provider))
        assert await edge.status("/secret") == 403
        assert await edge.status("/open") == 200
        assert edge.seen == ["GET /open"]
        assert await counted(edge, "error") == 1
        assert await counted(edge, "failure_mode_allowed") == 0


@pytest.mark.parametrize("provider", [HTTP, GRPC], ids=["http", "grpc"])
async def test_a_provider_may_say_that_it_fails_open_and_that_is_counted(
    envoy_binary: Path, provider: Provider
) -> None:
    open_ = msgspec.structs.replace(provider, fail_open=True)
    async with guarded(envoy_binary, asking(open_)) as edge:
        assert await edge.status("/secret") == 200
        assert await counted(edge, "failure_mode_allowed") == 1


async def test_a_provider_that_does_not_exist_refuses(envoy_binary: Path) -> None:
    async with guarded(envoy_binary, asking(None)) as edge:
        assert await edge.status("/secret") == 403
        assert await edge.status("/open") == 200


async def test_http_decides_by_its_status_and_sees_what_was_asked(envoy_binary: Path) -> None:
    async with guarded(envoy_binary, asking(HTTP), more=("check",)) as edge:
        answer = await edge.ask("/secret/a?b=c", headers=[("x-user", "forged")])
        assert answer.status == 200
        assert edge.apps["check"].seen["GET /secret/a?b=c"] == 1
        edge.apps["check"].fail = 1
        assert await edge.status("/secret") == 403
        assert edge.seen == ["GET /secret/a?b=c"]
        await edge.status("/open")
        assert sum(edge.apps["check"].seen.values()) == 2


@asynccontextmanager
async def authorizer(edge: Guarded) -> AsyncIterator[list[auth.CheckRequest]]:
    """One that allows what has the header ``x-key: good``, and says who it was."""
    asked: list[auth.CheckRequest] = []

    async def check(request: auth.CheckRequest, _: object) -> auth.CheckResponse:
        asked.append(request)
        if request.attributes.request.http.headers.get("x-key") != "good":
            denied = auth.DeniedHttpResponse(body="no")
            denied.status.code = denied.status.code.__class__(401)
            return auth.CheckResponse(status=rpc.Status(code=7), denied_response=denied)
        user = core.HeaderValueOption(header=core.HeaderValue(key="x-user", value="alice"))
        return auth.CheckResponse(status=rpc.Status(code=0), ok_response=auth.OkHttpResponse(headers=[user]))

    handler = grpc.unary_unary_rpc_method_handler(
        check, auth.CheckRequest.FromString, lambda answer: answer.SerializeToString()
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("envoy.service.auth.v3.Authorization", {"Check": handler}),)
    )
    socket = edge.mesh.directory / "check.grpc"
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    edge.grpc["check"] = socket
    try:
        yield asked
    finally:
        await server.stop(None)


async def test_grpc_decides_and_its_word_about_the_user_replaces_the_callers(envoy_binary: Path) -> None:
    async with guarded(envoy_binary, Guard()) as edge, authorizer(edge) as asked:
        await edge.guard(asking(GRPC))
        denied = await edge.ask("/secret")
        assert (denied.status, denied.body) == (401, b"no")
        answer = await edge.ask("/secret", headers=[("x-key", "good"), ("x-user", "forged")])
        assert answer.seen["headers"]["x-user"] == "alice"
        assert await edge.status("/open") == 200
        assert [each.attributes.request.http.path for each in asked] == ["/secret", "/secret"]


async def test_the_authorizer_comes_back_and_is_asked_again(envoy_binary: Path) -> None:
    async with guarded(envoy_binary, asking(GRPC)) as edge:
        assert await edge.status("/secret", headers=[("x-key", "good")]) == 403
        async with authorizer(edge):
            edge.mesh.refresh()
            await edge.mesh.fleet.settled(edge.mesh.revision)
            assert await edge.status("/secret", headers=[("x-key", "good")]) == 200
