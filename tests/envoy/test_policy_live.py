"""A changed policy holds for the next request on every connection: nothing drains, nothing fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import msgspec
import pytest

from tests.envoy.harness import until
from tests.envoy.policy_rig import NODE, Guarded, guarded
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Question, Text, TextKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Connection:
    """One HTTP/2 connection that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.answers: dict[int, asyncio.Future[int]] = {}
        self.closed = False

    async def ask(self, path: str) -> int:
        """The status of one request; fails when the connection is going away."""
        stream = self.h2.get_next_available_stream_id()
        headers = [(":method", "GET"), (":scheme", "http"), (":authority", "app.example"), (":path", path)]
        self.h2.send_headers(stream, headers, end_stream=True)
        self.answers[stream] = asyncio.get_running_loop().create_future()
        self.writer.write(self.h2.data_to_send())
        async with asyncio.timeout(10):
            return await self.answers[stream]

    async def listen(self) -> None:
        while data := await self.reader.read(65536):
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    assert event.stream_id is not None
                    self.answers[event.stream_id].set_result(int(str(event.headers[0][1])))
                elif isinstance(event, h2.events.DataReceived):
                    assert event.stream_id is not None
                    self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
                elif isinstance(event, h2.events.ConnectionTerminated):
                    self.closed = True
            self.writer.write(self.h2.data_to_send())
        self.closed = True


def policy(action: Action, path: str, *, dry_run: bool = False) -> AuthPolicy:
    source = f"AuthorizationPolicy/default/{action.value.lower()}{path.replace('/', '-')}"
    question = Question(Attribute.PATH, (Text(TextKind.PREFIX, path),))
    rule = AuthRule(source=f"{source}/rules/0", operations=((question,),))
    return AuthPolicy(source=source, action=action, rules=(rule,), dry_run=dry_run)


DENY = Guard(policies=(policy(Action.DENY, "/secret"),))


async def some_more(answers: Counter[int]) -> None:
    enough = answers.total() + 10
    await until(lambda: answers.total() >= enough)


@asynccontextmanager
async def connected(edge: Guarded) -> AsyncIterator[Connection]:
    made = Connection(*await asyncio.open_unix_connection(str(edge.door)))
    listening = asyncio.create_task(made.listen())
    try:
        yield made
    finally:
        listening.cancel()
        made.writer.close()
        await made.writer.wait_closed()


async def stat(edge: Guarded, name: str) -> int:
    text = await edge.mesh.admin(NODE, f"/stats?filter={name}$")
    return sum(int(line.rpartition(": ")[2]) for line in text.splitlines())


async def test_a_changed_policy_holds_for_the_next_request_on_an_open_connection(envoy_binary: Path) -> None:
    async with guarded(envoy_binary, Guard()) as edge, connected(edge) as kept:
        for _ in range(10):
            await edge.guard(Guard())
            assert await kept.ask("/secret") == 200
            await edge.guard(DENY)
            assert await kept.ask("/secret") == 403
            assert await kept.ask("/open") == 200
        assert not kept.closed
        assert await stat(edge, "listener_manager.total_listeners_draining") == 0
        assert await stat(edge, "listener_manager.listener_modified") == 0


async def test_no_request_fails_while_policies_change_under_load(envoy_binary: Path) -> None:
    """Requests that every one of the policies allows, on connections that were there before all of them."""
    answers: Counter[int] = Counter()
    guards = [
        Guard(),
        DENY,
        Guard(policies=(policy(Action.ALLOW, "/open"),)),
        Guard(policies=(policy(Action.ALLOW, "/open"), policy(Action.DENY, "/secret")), default_deny=True),
        Guard(policies=(policy(Action.DENY, "/open", dry_run=True), policy(Action.AUDIT, "/open"))),
    ]
    async with guarded(envoy_binary, Guard()) as edge, AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connected(edge)) for _ in range(4)]
        # The kernel takes a connection before Envoy counts it; what was answered has been counted.
        assert [await each.ask("/open") for each in connections] == [200] * 4
        before = await stat(edge, "http.edge.downstream_cx_total")
        done = asyncio.Event()

        async def load(connection: Connection) -> None:
            while not done.is_set():
                answers[await connection.ask("/open")] += 1

        loads = [asyncio.create_task(load(each)) for each in connections]
        for number in range(40):
            await edge.guard(guards[number % len(guards)])
            await some_more(answers)
        done.set()
        await asyncio.gather(*loads)
        assert not any(each.closed for each in connections)
        assert await stat(edge, "http.edge.downstream_cx_total") == before
    assert set(answers) == {200}
    assert answers[200] >= 400


async def test_a_refusal_names_the_rule_that_made_it(envoy_binary: Path) -> None:
    async with guarded(envoy_binary, DENY) as edge:
        answer = await edge.ask("/secret")
        assert (answer.status, answer.body) == (403, b"RBAC: access denied")

        await until(lambda: bool(edge.mesh.requests(NODE)))
        [line] = edge.mesh.requests(NODE)
        assert line["details"] == f"rbac_access_denied_matched_policy[{DENY.policies[0].rules[0].source}]"


async def test_a_dry_run_and_an_audit_decide_nothing_and_are_counted(envoy_binary: Path) -> None:
    policies = (
        policy(Action.DENY, "/secret", dry_run=True),
        policy(Action.ALLOW, "/open", dry_run=True),
        policy(Action.AUDIT, "/secret"),
    )
    async with guarded(envoy_binary, Guard(policies=policies)) as edge:
        assert await edge.status("/secret") == 200
        assert await edge.status("/open") == 200
        assert await stat(edge, "dry_run_deny_.shadow_denied") == 1
        assert await stat(edge, "dry_run_allow_.shadow_denied") == 1
        assert await stat(edge, "audit_.shadow_allowed") == 1
        assert await stat(edge, "rbac.denied") == 0
        await until(lambda: len(edge.mesh.requests(NODE)) == 2)
        secret, open_ = edge.mesh.requests(NODE)
        assert secret["audit"] == policies[2].rules[0].source
        assert secret["dry_run_deny"] == policies[0].rules[0].source
        assert secret["dry_run_allow"] == "denied"
        assert "audit" not in open_
        assert "dry_run_deny" not in open_
        assert open_["dry_run_allow"] == "allowed"


async def test_what_envoy_would_refuse_closes_the_door_until_it_is_mended(envoy_binary: Path) -> None:
    long = Question(Attribute.PATH, (Text(TextKind.REGEX, "a" * 2_000),))
    rule = AuthRule(source="TrafficTarget/default/t/rules/0", operations=((long,),))
    bad = Guard(policies=(AuthPolicy(source="TrafficTarget/default/t", action=Action.ALLOW, rules=(rule,)),))
    async with guarded(envoy_binary, Guard()) as edge:
        assert await edge.status("/") == 200
        await edge.guard(bad)
        assert await edge.status("/") == 403
        assert [each.code for each in edge.mesh.problems[NODE]] == ["WFT-1430"]
        await edge.guard(msgspec.structs.replace(bad, policies=()))
        assert await edge.status("/") == 200
