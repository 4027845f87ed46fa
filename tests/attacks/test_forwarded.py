"""E25: headers by which a caller could pass for somebody else. Neither the application nor a policy believes them."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.envoy.harness import Answer, Echo, Rig, exchange, rig, until
from tests.envoy.policy_rig import NODE, Guarded, guarded
from weft.explain.authz import decide
from weft.explain.call import Call, Verdict
from weft.model.service import Address, Capture, Placement, Protocol, State, WorkloadPort
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Question, Text, TextKind, Trust
from weft.model.view import View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

FORGED = (
    *(("X-Forwarded-For", "8.8.8.8"), ("X-Forwarded-Host", "a"), ("X-Forwarded-Port", "1"), ("X-Real-IP", "8.8.8.8")),
    *(("Forwarded", "for=8.8.8.8"), ("X-Forwarded-Proto", "https")),
    *(("X_Forwarded_For", "8.8.8.8"), ("X_Forwarded-Host", "a"), ("X_Real_IP", "8.8.8.8")),
    ("X-Forwarded-Client-Cert", "By=spiffe://local/ns/a/sa/b;URI=spiffe://local/ns/default/sa/admin"),
)
IDENTITIES = tuple(
    (name, "By=spiffe://local/ns/a/sa/b;URI=spiffe://local/ns/default/sa/admin")
    for name in ("X-Forwarded-Client-Cert", "X_Forwarded_Client_Cert", "x-forwarded-client_cert")
)
OURS = tuple(
    (f"X-Envoy-{name}", value)
    for name, value in (
        *(("Internal", "true"), ("External-Address", "8.8.8.8"), ("Peer-Metadata", "x"), ("Peer-Metadata-Id", "x")),
        *(("Retry-On", "5xx"), ("Max-Retries", "9"), ("Upstream-Rq-Timeout-Ms", "1"), ("Original-Path", "/x")),
        *(("Decorator-Operation", "x"), ("Force-Trace", "1"), ("IP-Tags", "x"), ("Attempt-Count", "9")),
        *(("Expected-Rq-Timeout-Ms", "1"), ("Hedge-On-Per-Try-Timeout", "1"), ("Upstream-Alt-Stat-Name", "x")),
        *(("Original-Dst-Host", "127.0.0.1:1"), ("Retriable-Status-Codes", "200"), ("Is-Timeout-Retry", "1")),
        *(("Auth-Partial-Body", "1"), ("Overloaded", "1"), ("Anything-Else", "1")),
    )
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def believed(answer: Answer, forged: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """What the application saw of it, in any spelling."""
    assert answer.status == 200
    values = {(name.lower(), value) for name, value in forged}
    return {name: value for name, value in answer.seen["headers"].items() if (name, value) in values}


async def test_an_application_behind_an_edge_sees_nothing_of_it(envoy_binary: Path) -> None:
    async with guarded(envoy_binary, Guard()) as edge:
        assert believed(await edge.ask("/", headers=[*FORGED, *OURS]), (*FORGED, *OURS)) == {}


def inbound(mesh: Rig, app: Echo, guard: Guard) -> View:
    """A workload's own proxy, called in the clear."""
    port = WorkloadPort(
        number=80,
        name="http",
        protocol=Protocol.HTTP,
        listen=Address(path=str(mesh.directory / "in")),
        application=Address(path=str(app.socket)),
        state=State.SERVING,
    )
    return View(
        node="sidecar/default/x",
        placement=Placement.SIDECAR,
        namespace="default",
        name="x",
        capture=Capture.NONE,
        inbound=(port,),
        guards=((80, guard),),
    )


async def test_an_application_called_in_the_clear_hears_of_no_identity_and_no_orders(envoy_binary: Path) -> None:
    async with rig(envoy_binary) as mesh:
        app = await mesh.echo("app")
        mesh.secrets.give("sidecar/default/x", "spiffe://local/ns/default/sa/x")
        await mesh.proxy("sidecar/default/x", lambda _: inbound(mesh, app, Guard()), mesh.directory / "in")
        answer = await exchange(mesh.directory / "in", "app", headers=[*FORGED, *IDENTITIES, *OURS])
        assert believed(answer, (*IDENTITIES, *OURS)) == {}
        answer = await exchange(mesh.directory / "in", "app", headers=[("X-Forwarded-For", "10.0.0.1")])
        assert "x-envoy-internal" not in answer.seen["headers"]


async def test_who_has_no_identity_is_not_believed_about_addresses(envoy_binary: Path) -> None:
    async with rig(envoy_binary) as mesh:
        app = await mesh.echo("app")
        guard = by_address(Action.ALLOW, "8.8.8.8/32")
        mesh.secrets.give("sidecar/default/x", "spiffe://local/ns/default/sa/x")
        await mesh.proxy("sidecar/default/x", lambda _: inbound(mesh, app, guard), mesh.directory / "in")
        answer = await exchange(mesh.directory / "in", "app", headers=[*FORGED, *OURS])
        assert answer.status == 403
        assert not app.seen


def by_address(action: Action, block: str) -> Guard:
    source = "AuthorizationPolicy/default/address"
    question = Question(Attribute.REMOTE_IP_BLOCK, (Text(TextKind.EXACT, block),))
    rule = AuthRule(source=f"{source}/rules/0", sources=((question,),))
    return Guard(policies=(AuthPolicy(source=source, action=action, rules=(rule,)),))


def by_header(name: str) -> Guard:
    source = "AuthorizationPolicy/default/header"
    rule = AuthRule(
        source=f"{source}/rules/0", conditions=(Question(Attribute.HEADER, (Text(TextKind.PRESENT),), name=name),)
    )
    return Guard(policies=(AuthPolicy(source=source, action=Action.ALLOW, rules=(rule,)),))


class OnTcp(Guarded):
    """The edge at a TCP port, where callers have addresses."""

    def view(self, demand: object) -> View:
        made = super().view(demand)  # type: ignore[arg-type] # a demand, which is not looked at
        [port] = made.edge
        return msgspec.structs.replace(
            made, edge=(msgspec.structs.replace(port, listen=Address(ip="127.0.0.1", port=self.port)),)
        )

    port: int = 0

    async def from_here(self, *headers: tuple[str, str]) -> int:
        return (await exchange(("127.0.0.1", self.port), "app.example", headers=headers)).status


@asynccontextmanager
async def on_tcp(envoy_binary: Path, guard: Guard) -> AsyncIterator[OnTcp]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    async with rig(envoy_binary) as mesh:
        edge = OnTcp(mesh, guard, Trust())
        edge.port = number
        edge.apps["app"] = await mesh.echo("app")
        await mesh.proxy(NODE, edge.view, ("127.0.0.1", number))

        async def listening() -> bool:
            try:
                await edge.from_here()
            except OSError:
                return False
            return True

        await until(listening)
        yield edge


async def test_a_policy_about_addresses_believes_the_connection_and_no_header(envoy_binary: Path) -> None:
    async with on_tcp(envoy_binary, by_address(Action.DENY, "127.0.0.0/8")) as edge:
        lies = (("X-Forwarded-For", "8.8.8.8"), ("X-Envoy-External-Address", "8.8.8.8"), ("Forwarded", "for=8.8.8.8"))
        assert await edge.from_here(*lies) == 403
        await edge.guard(by_address(Action.ALLOW, "8.8.8.8/32"))
        assert await edge.from_here(*lies) == 403
        assert await edge.from_here(*lies, *lies) == 403
        await edge.guard(by_address(Action.ALLOW, "127.0.0.1/32"))
        assert await edge.from_here(*lies) == 200
        assert edge.seen == ["GET /"]


async def test_a_client_on_this_machine_is_a_stranger_to_an_edge(envoy_binary: Path) -> None:
    async with on_tcp(envoy_binary, Guard()) as edge:
        answer = await exchange(("127.0.0.1", edge.port), "app.example", headers=[("x-request-id", "evil")])
        assert answer.seen["headers"]["x-request-id"] not in ("", "evil")
        assert "x-envoy-internal" not in answer.seen["headers"]


@pytest.mark.parametrize(
    "name", ["x-forwarded-client-cert", "x-envoy-internal", "x-envoy-peer-metadata-id", "x-real-ip"]
)
async def test_a_policy_about_headers_never_sees_them(envoy_binary: Path, name: str) -> None:
    async with guarded(envoy_binary, by_header(name)) as edge:
        assert await edge.status("/", headers=[*FORGED, *OURS]) == 403
        assert edge.seen == []


ASKED = (
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip", "forwarded"),
    *("x-request-id", "x-envoy-internal", "x-envoy-external-address", "x-forwarded-client-cert"),
)
EVERY = tuple((name, "8.8.8.8") for name in ASKED)


def oracle(name: str, headers: tuple[tuple[str, str], ...], *, edge: bool) -> Verdict:
    return decide(by_header(name), Call(port=80, edge=edge, headers=headers), Trust()).verdict


@pytest.mark.parametrize("headers", [(), EVERY])
async def test_the_oracle_knows_which_headers_an_edge_sets_or_removes(
    envoy_binary: Path, headers: tuple[tuple[str, str], ...]
) -> None:
    """What it does not know is there in any case: the edge made it, whatever the caller said."""
    async with on_tcp(envoy_binary, Guard()) as edge:
        for name in ASKED:
            await edge.guard(by_header(name))
            allowed = await edge.from_here(*headers) == 200
            verdict = oracle(name, headers, edge=True)
            assert (verdict is not Verdict.DENIED) is allowed, name


@pytest.mark.parametrize("headers", [(), EVERY])
async def test_the_oracle_knows_which_headers_a_workloads_proxy_sets_or_removes(
    envoy_binary: Path, headers: tuple[tuple[str, str], ...]
) -> None:
    async with rig(envoy_binary) as mesh:
        app = await mesh.echo("app")
        guard = by_header(ASKED[0])
        mesh.secrets.give("sidecar/default/x", "spiffe://local/ns/default/sa/x")
        await mesh.proxy("sidecar/default/x", lambda _: inbound(mesh, app, guard), mesh.directory / "in")
        for name in ASKED:
            guard = by_header(name)
            mesh.refresh()
            await mesh.fleet.settled(mesh.revision)
            answer = await exchange(mesh.directory / "in", "app", headers=headers)
            assert (oracle(name, headers, edge=False) is not Verdict.DENIED) is (answer.status == 200), name
