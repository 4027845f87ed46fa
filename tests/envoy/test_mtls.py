"""Two real proxies and mutual TLS between them: every shape, and changes of shape under load."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.envoy.harness import Echo, Rig, exchange, rig, service, sidecar, until
from tests.support import pressure
from weft.model.route import Backend, Rule, VirtualHost
from weft.model.service import Address, Capture, Endpoint, Placement, Protocol, WorkloadPort
from weft.model.trust import (
    Action,
    Attribute,
    AuthPolicy,
    AuthRule,
    Guard,
    Peers,
    Question,
    Shape,
    Text,
    TextKind,
    TlsMode,
    Trust,
)
from weft.model.view import Demand, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.envoy]
CALLER, CALLEE = "sidecar/default/caller", "sidecar/default/web-v1-0"
CALLER_ID, CALLEE_ID = "spiffe://local/ns/default/sa/caller", "spiffe://local/ns/default/sa/web"
PORT = 9080


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Pair:
    """A caller's proxy, a callee's proxy and its application. What is changed here holds after ``refresh``."""

    def __init__(self, mesh: Rig, app: Path, protocol: Protocol) -> None:
        self.mesh = mesh
        self.app = app
        self.protocol = protocol
        self.guard: Guard | None = Guard()
        self.peers = peers(Shape.RAW)
        self.trust = Trust()
        self.out = mesh.directory / "out"
        self.inside = mesh.directory / "in"

    def caller(self, demand: Demand) -> View:
        made = sidecar(self.mesh, _host, {"web": (self.inside,)}, self.protocol)(demand)
        upstreams = tuple(msgspec.structs.replace(each, peers=self.peers) for each in made.upstreams)
        ends = tuple(
            msgspec.structs.replace(each, endpoints=tuple(self.named(end) for end in each.endpoints))
            for each in made.assignments
        )
        return msgspec.structs.replace(made, upstreams=upstreams, assignments=ends)

    def named(self, end: Endpoint) -> Endpoint:
        return msgspec.structs.replace(end, name="9080.web-v1-0.default.a.h.weft") if self.guard else end

    def callee(self, _demand: Demand) -> View:
        port = WorkloadPort(PORT, "http", self.protocol, Address(path=str(self.inside)), Address(path=str(self.app)))
        return View(
            node=CALLEE,
            placement=Placement.SIDECAR,
            namespace="default",
            name="web-v1-0",
            capture=Capture.PROXY,
            inbound=(port,),
            guards=((PORT, self.guard),) if self.guard else (),
            trust=self.trust,
        )

    async def change(self, **fields: Any) -> None:  # noqa: ANN401 - fields of this class
        for name, value in fields.items():
            setattr(self, name, value)
        self.mesh.refresh()
        await self.mesh.fleet.settled(self.mesh.revision)

    async def start(self) -> None:
        self.mesh.secrets.give(CALLER, CALLER_ID)
        self.mesh.secrets.give(CALLEE, CALLEE_ID)
        await self.mesh.proxy(CALLEE, self.callee, self.inside)
        await self.mesh.proxy(CALLER, self.caller, self.out)

    async def takes(self, node: str, updates: int) -> None:
        """Wait until a proxy took its SVID so often."""
        stat = r"sds.default.update_success"

        async def taken() -> bool:
            return any(value >= updates for value in (await self.stats(node, stat)).values())

        await until(taken)

    async def stats(self, node: str, pattern: str) -> dict[str, int]:
        text = await self.mesh.admin(node, f"/stats?usedonly&filter={pattern}")
        return {
            name: int(value)
            for name, _, value in (line.partition(": ") for line in text.splitlines())
            if value.isdigit()
        }


def _host(name: str) -> VirtualHost:
    return VirtualHost(
        domain=name, rules=(Rule(source="Service/default/web", backends=(Backend(service("web", PORT)),)),)
    )


@asynccontextmanager
async def pair(envoy: Path, protocol: Protocol = Protocol.HTTP, **fields: Any) -> AsyncIterator[tuple[Pair, Echo]]:  # noqa: ANN401
    """``fields`` are those of ``Pair``."""
    async with rig(envoy) as mesh:
        app = await mesh.echo("web")
        made = Pair(mesh, app.socket, protocol)
        for name, value in fields.items():
            setattr(made, name, value)
        served = None
        if protocol is Protocol.GRPC:
            made.app = mesh.directory / "grpc.app"
            served = await pressure.grpc_echo(made.app)
        try:
            await made.start()
            yield made, app
        finally:
            if served:
                await served.stop(None)


@pytest.mark.parametrize("shape", [Shape.RAW, Shape.HTTP])
@pytest.mark.parametrize("mode", list(TlsMode))
async def test_a_call_arrives_by_each_shape(envoy_binary: Path, shape: Shape, mode: TlsMode) -> None:
    async with pair(envoy_binary, peers=peers(shape), guard=Guard(mode=mode)) as (both, _):
        answer = await exchange(both.out, "web", "/x")
        assert answer.status == 200, answer.body + both.mesh.log(CALLEE).encode()
        assert answer.seen["path"] == "/x"
        understood = await both.stats(CALLEE, "^http.inbound.downstream_cx_ssl_total")
        assert bool(understood) is (shape is Shape.HTTP)


def peers(shape: Shape, epoch: str = "", *identities: str) -> Peers:
    return Peers(identities=identities or (CALLEE_ID,), shape=shape, epoch=epoch)


PATHS = AuthPolicy(
    "AuthorizationPolicy/default/paths",
    Action.DENY,
    (
        AuthRule(
            "AuthorizationPolicy/default/paths/rules/0",
            operations=((Question(Attribute.PATH, (Text(TextKind.PREFIX, "/admin"),)),),),
        ),
    ),
)
ASKS = Guard(policies=(PATHS,))


def only(identity: str) -> Guard:
    rule = AuthRule(
        "AuthorizationPolicy/default/who/rules/0",
        sources=((Question(Attribute.PRINCIPAL, (Text(TextKind.EXACT, identity.removeprefix("spiffe://")),)),),),
    )
    return Guard(policies=(AuthPolicy("AuthorizationPolicy/default/who", Action.ALLOW, (rule,)),))


CHANGES: dict[str, list[dict[str, Any]]] = {
    "epochs": [{"peers": peers(Shape.RAW, str(number))} for number in range(4)],
    "pooled epochs": [{"peers": peers(Shape.HTTP, str(number))} for number in range(4)],
    "shapes": [{"peers": peers(Shape.HTTP)}, {"peers": peers(Shape.RAW)}] * 2,
    "policy": [{"peers": peers(Shape.HTTP, "1"), "guard": ASKS}, {"peers": peers(Shape.RAW, "2"), "guard": Guard()}]
    * 2,
    "modes": [{"guard": Guard(mode=TlsMode.STRICT)}, {"guard": Guard()}] * 2,
    "disabled": [
        {"guard": Guard(mode=TlsMode.DISABLE), "peers": Peers()},
        {"guard": Guard(), "peers": peers(Shape.RAW)},
    ],
    "banned": [{"trust": Trust(banned=("spiffe://local/ns/default/sa/other",))}, {"trust": Trust()}],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.GRPC])
async def test_no_request_is_lost_while_something_changes(envoy_binary: Path, protocol: Protocol, change: str) -> None:
    async with pair(envoy_binary, protocol) as (both, _):
        callers = pressure.grpc_calls(both.out) if protocol is Protocol.GRPC else pressure.http1(both.out)
        async with callers as load:
            await load.more()
            for fields in CHANGES[change]:
                await both.change(**fields)
                await load.more()
            assert load.failures == [], both.mesh.requests(CALLER)[-3:]


@pytest.mark.parametrize("shape", [Shape.RAW, Shape.HTTP])
async def test_what_only_proxies_may_say_does_not_reach_the_application_from_a_caller(
    envoy_binary: Path, shape: Shape
) -> None:
    names = ("x-envoy-original-path", "x-envoy-internal", "x-envoy-external-address", "x-envoy-anything")
    said = [*((name, "evil") for name in names), ("x-forwarded-client-cert", "URI=spiffe://local/ns/default/sa/evil")]
    async with pair(envoy_binary, peers=peers(shape)) as (both, _):
        seen = (await exchange(both.out, "web", "/", headers=said)).seen["headers"]
        assert [name for name in seen if name.startswith("x-envoy-")] == []
        known = seen.get("x-forwarded-client-cert", "")
        assert "evil" not in known
        assert known.endswith(f"URI={CALLER_ID}") is (shape is Shape.HTTP), "what is passed on unread says nothing"
        # Whoever comes to the callee in the clear is no proxy either.
        seen = (await exchange(both.inside, "web", "/", headers=said)).seen["headers"]
        assert [name for name in seen if name.startswith("x-envoy-") or name == "x-forwarded-client-cert"] == []


async def test_a_port_that_speaks_http_1_is_spoken_to_in_http_1_whatever_is_between_the_proxies(
    envoy_binary: Path,
) -> None:
    async with pair(envoy_binary, peers=peers(Shape.HTTP)) as (both, app):
        assert (await exchange(both.out, "web", "/")).status == 200
        assert "PRI *" not in app.seen


@pytest.mark.parametrize("shape", [Shape.RAW, Shape.HTTP])
async def test_two_proxies_agree_on_tls_1_3_and_a_post_quantum_key_exchange(envoy_binary: Path, shape: Shape) -> None:
    async with pair(envoy_binary, peers=peers(shape)) as (both, _):
        assert (await exchange(both.out, "web", "/")).status == 200
        agreed = await both.stats(CALLEE, r"^listener.*ssl\.(curves|versions)")
        assert {name.rpartition("ssl.")[2]: value for name, value in agreed.items()} == {
            "curves.X25519MLKEM768": 1,
            "versions.TLSv1.3": 1,
        }


@pytest.mark.parametrize("guard", [Guard(), only(CALLER_ID), ASKS])
async def test_a_request_to_an_application_that_is_gone_goes_elsewhere(envoy_binary: Path, guard: Guard) -> None:
    async with pair(envoy_binary, guard=guard) as (both, app):
        app.socket.unlink()
        for _ in range(5):
            assert (await exchange(both.out, "web", "/")).status == 503
        await until(lambda: len(both.mesh.requests(CALLER)) >= 5)
        assert {each["attempts"] for each in both.mesh.requests(CALLER) if "status" in each} == {3}
