"""What policies say about connections that nobody reads: who may open one, by address, and whom an authorizer lets in."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from tests.envoy.harness import Rig, assignments, rig, service, until
from weft.envoy.protos.envoy.service.auth import v3 as auth
from weft.envoy.protos.google import rpc
from weft.model.service import Address, Capture, Placement, Protocol, State, WorkloadPort
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Provider, Question, Text, TextKind
from weft.model.view import Upstream, View

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


async def test_an_authorizer_of_connections_is_asked_and_refuses_while_it_is_down(envoy_binary: Path) -> None:
    verdicts = [7]

    async def check(_request: auth.CheckRequest, _: object) -> auth.CheckResponse:
        return auth.CheckResponse(status=rpc.Status(code=verdicts[-1]))

    handler = grpc.unary_unary_rpc_method_handler(
        check, auth.CheckRequest.FromString, lambda answer: answer.SerializeToString()
    )
    server = grpc.aio.server()
    handlers = grpc.method_handlers_generic_handler("envoy.service.auth.v3.Authorization", {"Check": handler})
    server.add_generic_rpc_handlers((handlers,))
    async with database(envoy_binary) as db:
        await db.guarded(policy(Action.CUSTOM, block("127.0.0.0/8"), provider=CHECK))
        assert await db.answers(CLOSED)
        server.add_insecure_port(f"unix:{db.check}")
        await server.start()
        try:
            assert await db.answers(CLOSED)
            verdicts.append(0)
            assert await db.answers(PONG)
        finally:
            await server.stop(None)
        await db.guarded(policy(Action.CUSTOM, block("10.0.0.0/8"), provider=CHECK))
        assert await db.answers(PONG)
