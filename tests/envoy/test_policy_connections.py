"""What policies say about connections that nobody reads: who may open one, by address, and whom an authorizer lets in."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import msgspec
import pytest

from tests.envoy.harness import Rig, assignments, rig, service, until
from tests.envoy.test_mtls import CALLEE_ID, CALLER_ID
from tests.envoy.test_mtls_tunnel import Opaque, connected, talk
from weft.envoy.protos.envoy.service.auth import v3 as auth
from weft.envoy.protos.google import rpc
from weft.model.service import Address, Capture, Placement, Protocol, State, WorkloadPort
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Provider, Question, Text, TextKind
from weft.model.view import Demand, Upstream, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]
NODE = "sidecar/default/db"
SOURCE = "AuthorizationPolicy/default/db"
CHECK = Provider(name="check", cluster=str(service("check")), grpc=True, service="check.default")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def policy(action: Action, *questions: Question, provider: Provider | None = None) -> AuthPolicy:
    rule = AuthRule(source=f"{SOURCE}/rules/0", sources=(questions,) if questions else ())
    return AuthPolicy(source=SOURCE, action=action, rules=(rule,), provider=provider)


def block(value: str) -> Question:
    return Question(Attribute.IP_BLOCK, (Text(TextKind.EXACT, value),))


class Database:
    """A TCP application behind its proxy, at a TCP port, called in the clear."""

    def __init__(self, mesh: Rig, port: int, app: Path) -> None:
        self.mesh, self.port, self.app = mesh, port, app
        self.guard = Guard()
        self.check = mesh.directory / "check.grpc"

    def view(self) -> View:
        port = WorkloadPort(
            number=5432,
            name="tcp",
            protocol=Protocol.TCP,
            listen=Address(ip="127.0.0.1", port=self.port),
            application=Address(path=str(self.app)),
            state=State.SERVING,
        )
        return View(
            node=NODE,
            placement=Placement.SIDECAR,
            namespace="default",
            name="db",
            capture=Capture.NONE,
            inbound=(port,),
            upstreams=(Upstream(name=CHECK.cluster, protocol=Protocol.GRPC, source=""),),
            assignments=tuple(assignments([CHECK.cluster], {"check": (self.check,)})),
            guards=((5432, self.guard),),
        )

    async def guarded(self, *policies: AuthPolicy, default_deny: bool = False) -> None:
        self.guard = Guard(policies=policies, default_deny=default_deny)
        self.mesh.refresh()
        await self.mesh.fleet.settled(self.mesh.revision)

    async def ask(self) -> bytes:
        """What the application answers; nothing when the connection is closed instead."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"ping\n")
            async with asyncio.timeout(10):
                return await reader.readline()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def answers(self, expected: bytes) -> bool:
        """Whether that is the answer from now on. A changed chain holds for new connections soon after it was taken."""

        async def so() -> bool:
            return await self.ask() == expected

        await until(so)
        return [await self.ask() for _ in range(5)] == [expected] * 5


@asynccontextmanager
async def database(envoy: Path) -> AsyncIterator[Database]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline() == b"ping\n":
            writer.write(b"pong\n")
        writer.close()

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    async with rig(envoy) as mesh:
        mesh.secrets.give(NODE, "spiffe://local/ns/default/sa/db")
        made = Database(mesh, number, await mesh.serve_raw("db", talk))
        await mesh.proxy(NODE, lambda _: made.view(), ("127.0.0.1", number))

        async def listening() -> bool:
            try:
                return await made.ask() == b"pong\n"
            except OSError:
                return False

        await until(listening)
        yield made


PONG, CLOSED = b"pong\n", b""


async def test_an_address_opens_and_closes_a_port(envoy_binary: Path) -> None:
    async with database(envoy_binary) as db:
        await db.guarded(policy(Action.DENY, block("127.0.0.0/8")))
        assert await db.answers(CLOSED)
        await db.guarded(policy(Action.DENY, block("10.0.0.0/8")))
        assert await db.answers(PONG)
        await db.guarded(policy(Action.ALLOW, block("10.0.0.0/8")))
        assert await db.answers(CLOSED)
        await db.guarded(policy(Action.ALLOW, block("127.0.0.1/32")))
        assert await db.answers(PONG)
        await db.guarded(default_deny=True)
        assert await db.answers(CLOSED)


async def test_a_rule_about_requests_refuses_more_and_allows_nothing(envoy_binary: Path) -> None:
    path = Question(Attribute.PATH, (Text(TextKind.EXACT, "/x"),))
    async with database(envoy_binary) as db:
        await db.guarded(policy(Action.DENY, path))
        assert await db.answers(CLOSED)
        await db.guarded(policy(Action.ALLOW, path))
        assert await db.answers(CLOSED)


@asynccontextmanager
async def authorizer(where: Path, verdicts: list[int], asked: list[auth.CheckRequest]) -> AsyncIterator[None]:
    """Answers with the last of ``verdicts`` (a status of gRPC, 0: allowed)."""

    async def check(request: auth.CheckRequest, _: object) -> auth.CheckResponse:
        asked.append(request)
        return auth.CheckResponse(status=rpc.Status(code=verdicts[-1]))

    handler = grpc.unary_unary_rpc_method_handler(
        check, auth.CheckRequest.FromString, lambda answer: answer.SerializeToString()
    )
    server = grpc.aio.server()
    handlers = grpc.method_handlers_generic_handler("envoy.service.auth.v3.Authorization", {"Check": handler})
    server.add_generic_rpc_handlers((handlers,))
    server.add_insecure_port(f"unix:{where}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


async def test_an_authorizer_of_connections_is_asked_and_refuses_while_it_is_down(envoy_binary: Path) -> None:
    verdicts, asked = [7], list[auth.CheckRequest]()
    async with database(envoy_binary) as db:
        await db.guarded(policy(Action.CUSTOM, block("127.0.0.0/8"), provider=CHECK))
        assert await db.answers(CLOSED)
        async with authorizer(db.check, verdicts, asked):
            # Closed all along: it is asked as soon as Envoy has found its way to it.
            async def heard() -> bool:
                return await db.ask() == CLOSED and bool(asked)

            await until(heard)
            assert await db.answers(CLOSED)
            verdicts.append(0)
            assert await db.answers(PONG)
            assert {each.attributes.source.principal for each in asked} == {""}, "plaintext is nobody"
        await db.guarded(policy(Action.CUSTOM, block("10.0.0.0/8"), provider=CHECK))
        before = len(asked)
        assert await db.answers(PONG)
        assert len(asked) == before, "what no rule matches is not asked about"


async def test_an_authorizer_that_is_slow_or_down_lets_connections_pass_where_it_fails_open(envoy_binary: Path) -> None:
    everybody = block("0.0.0.0/0")
    opened = msgspec.structs.replace(CHECK, name="opened", fail_open=True)
    async with database(envoy_binary) as db:
        await db.guarded(policy(Action.CUSTOM, everybody, provider=CHECK))
        assert await db.answers(CLOSED)
        await db.guarded(policy(Action.CUSTOM, everybody, provider=opened))
        assert await db.answers(PONG)
        # Somebody listens and never answers.
        silent: list[asyncio.StreamWriter] = []
        async with await asyncio.start_unix_server(lambda _, writer: silent.append(writer), db.check):
            await db.guarded(policy(Action.CUSTOM, everybody, provider=CHECK))
            assert await db.answers(CLOSED)
            await db.guarded(policy(Action.CUSTOM, everybody, provider=opened))
            assert await db.answers(PONG)
            for each in silent:
                each.close()


class Asked(Opaque):
    """The callee has an authorizer."""

    def callee(self, demand: Demand) -> View:
        found = tuple(assignments([CHECK.cluster], {"check": (self.mesh.directory / "check.grpc",)}))
        upstream = Upstream(name=CHECK.cluster, protocol=Protocol.GRPC, source="")
        return msgspec.structs.replace(super().callee(demand), upstreams=(upstream,), assignments=found)


async def test_an_authorizer_hears_who_calls_and_once_for_each_connection(envoy_binary: Path) -> None:
    asked = list[auth.CheckRequest]()
    async with rig(envoy_binary) as mesh, authorizer(mesh.directory / "check.grpc", [0], asked):
        both = Asked(mesh, await mesh.serve_raw("web", talk), Protocol.TCP)
        both.guard = Guard(policies=(policy(Action.CUSTOM, provider=CHECK),))
        await both.start()

        async def echoed() -> bool:
            async with connected(both.out) as one:
                one.writer.write(b"x")
                one.writer.write_eof()
                return b"echo:x" in await one.rest()

        await until(echoed)
        before = len(asked)
        for _ in range(3):
            assert await echoed()
        assert len(asked) == before + 3
        seen = asked[-1].attributes
        assert seen.source.principal == CALLER_ID
        assert seen.source.certificate.startswith("-----BEGIN%20CERTIFICATE")
        assert seen.destination.principal == CALLEE_ID
        assert seen.tls_session.sni == "9080.web-v1-0.default.a.h.weft"
