"""Every endpoint, every method and every role against the declared table, over real sockets (promises F5 to F7)."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from tests.support.apis import ROUTES, SERVICES, Api, api
from tests.support.figures import figure
from weft.model.service import HostReport, Placement, Workload
from weft.sources.lock import UnusableError
from weft.sources.tokens import Role
from weft.web import access, app, sockets
from weft.web.access import CALLER, STRANGER, Caller, Hosts, Local
from weft.web.answers import problem
from weft.web.gate import Gate
from weft.web.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from starlette.routing import Route
    from starlette.types import ASGIApp, Receive, Scope, Send

HOST: Final = Caller(Role.HOST, "spiffe://local/weft/host/h", "10.0.0.2", host="h")
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
RANKS: Final = (Role.ANONYMOUS, Role.VIEWER, Role.EDITOR, Role.ADMIN)
OBJECTS: Final = (SERVICES, f"{SERVICES}/a", f"{SERVICES}/a/status", ROUTES, f"{ROUTES}/a", "/api/v1/namespaces/a")
DISCOVERY: Final = (
    "/api",
    "/apis",
    "/api/v1",
    "/apis/weft.dev",
    "/apis/weft.dev/v1alpha1",
    "/openapi/v3",
    "/openapi/v3/weft/v1",
)
UNKNOWN: Final = (
    "/",
    "/weft/v1/aply",
    "/weft/v1",
    "/debug/config_dump",
    "/apis/weft.dev/v1alpha1/nothing",
    "/livez/",
    "//livez",
    "/LIVEZ",
)


class AsHost:
    """The door for other hosts, as the application sees it: an SVID was checked, and it is host h's."""

    def __init__(self, inside: ASGIApp) -> None:
        self._inside = inside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._inside({**scope, CALLER: HOST}, receive, send)


def filled(path: str) -> str:
    """A path of the table for the host h and its proxy."""
    plain = path.replace("{node:path}", "sidecar/default/a").replace("{host}", "h")
    return "/".join("a" if part.startswith("{") else part for part in plain.split("/"))


def declared(method: str, path: str) -> access.Access | None:
    """What the table says, found without the code that goes by it. None: it says nothing."""
    read = "GET" if method == "HEAD" else method
    for row in app.OWN:
        if (row.method, filled(row.path)) == (read, path):
            return row.access
    if path.startswith(("/api/", "/apis/")) and read in ("POST", "PUT", "PATCH", "DELETE"):
        return access.WRITE
    return access.READ if path.startswith(("/api", "/openapi/")) and read == "GET" else None


def expected(role: Role, needed: access.Access | None) -> int | None:
    """401, 403, or None: it gets through, whatever the answer then is."""
    needed = needed or access.READ
    if role is Role.HOST:
        return 403 if needed.hosts is Hosts.NONE else None
    if RANKS.index(role) >= RANKS.index(needed.role):
        return None
    return 401 if role is Role.ANONYMOUS else 403


def asked() -> Iterator[tuple[str, str]]:
    own = dict.fromkeys(filled(row.path) for row in app.OWN)
    for path in (*own, *OBJECTS, *DISCOVERY, *UNKNOWN):
        for method in METHODS:
            yield method, path


@asynccontextmanager
async def doors(tmp_path: Path) -> AsyncIterator[tuple[Api, dict[Role, httpx2.AsyncClient]]]:
    """The real application behind real sockets: one TCP port, and one unix socket that says it is the door."""
    async with api(tmp_path / "state") as found, anyio.create_task_group() as group:
        context = found.context
        await context.registry.put(
            HostReport(
                host="h", workloads=(Workload(namespace="default", name="a", host="h", placement=Placement.SIDECAR),)
            )
        )
        made = app.app(context)
        tcp, unix = sockets.listen_tcp("127.0.0.1:0"), sockets.listen_unix(tmp_path / "door")
        group.start_soon(serve, Gate(made, context.tokens, context.audit), tcp, context.closing)
        group.start_soon(serve, AsHost(made), unix, context.closing)
        clients = {}
        for role in RANKS:
            headers = {}
            if role is not Role.ANONYMOUS:
                _, secret = await context.tokens.create(role.value, role, 0, "root")
                headers = {"authorization": f"Bearer {secret}"}
            url = f"http://127.0.0.1:{tcp.getsockname()[1]}"
            clients[role] = httpx2.AsyncClient(base_url=url, headers=headers, timeout=20)
        transport = httpx2.AsyncHTTPTransport(uds=str(tmp_path / "door"))
        clients[Role.HOST] = httpx2.AsyncClient(transport=transport, base_url="http://weft", timeout=20)
        try:
            yield found, clients
        finally:
            for client in clients.values():
                await client.aclose()
            group.cancel_scope.cancel()


async def test_every_endpoint_method_and_role_is_as_declared(tmp_path: Path) -> None:
    deviations, count = [], 0
    async with doors(tmp_path) as (_, clients):
        for method, path in asked():
            query = "?host=h&timeoutSeconds=0" if method != "HEAD" else "?host=h"
            for role, client in clients.items():
                async with client.stream(method, path + query, content=b"") as answer:
                    got = answer.status_code
                wanted = expected(role, declared(method, path))
                count += 1
                if got != wanted if wanted else got in (401, 403):
                    deviations.append((method, path, role.value, got, wanted))
    figure("F5-7", f"{count} requests, {len(deviations)} deviations from the declared table")
    assert deviations == []
    assert count == len(list(asked())) * 5


def test_every_route_stands_in_the_table_with_what_its_methods_need(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[list[Route]] = []

    def recorded(routes: list[Route], **rest: Any) -> Starlette:  # noqa: ANN401 - handed on
        made.append(routes)
        return Starlette(routes=routes, **rest)

    monkeypatch.setattr(app, "Starlette", recorded)
    guard = app.app(_Nothing())  # type: ignore[arg-type]  # routes need no context
    table = {id(route): methods for route, methods in guard._table}
    for route in made[0]:
        assert set(table[id(route)]) == (route.methods or set()) - {"HEAD"}, route.path


class _Nothing:
    audit = registry = None


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/weft/v1/placements?host=h", 200),
        ("/weft/v1/placements?host=other", 403),
        ("/weft/v1/placements?host=h&host=other", 403),
        ("/weft/v1/placements", 403),
        ("/weft/v1/proxies/sidecar/default/a/held", 404),
        ("/weft/v1/proxies/sidecar/default/b/held", 403),
        ("/weft/v1/names", 200),
        ("/weft/v1/hosts", 403),
        ("/api/v1/services", 403),
    ],
)
async def test_a_host_gets_only_what_is_its_own(tmp_path: Path, path: str, code: int) -> None:
    async with doors(tmp_path) as (found, clients):
        assert (await clients[Role.HOST].get(path)).status_code == code
        if code == 403:
            await found.context.audit.flush()
            (entry,) = await found.context.audit.entries()
            assert (entry.who, entry.where, entry.detail["status"]) == (HOST.name, HOST.where, "403")


async def test_a_host_writes_its_own_report_and_nobody_elses(tmp_path: Path) -> None:
    report = b'{"host": "other", "workloads": []}'
    async with doors(tmp_path) as (_, clients):
        assert (await clients[Role.HOST].put("/weft/v1/hosts/other", content=report)).status_code == 403
        assert (await clients[Role.HOST].put("/weft/v1/hosts/h", content=report)).status_code == 400


async def test_an_action_of_an_admin_is_written_down_before_and_after(tmp_path: Path) -> None:
    async with doors(tmp_path) as (found, clients):
        assert (await clients[Role.ADMIN].delete("/weft/v1/hosts/h?x=1")).status_code == 204
        assert (await clients[Role.ADMIN].delete("/weft/v1/hosts/h")).status_code == 404
        shown = [(each.outcome, each.detail) for each in await found.context.audit.entries(kind="operation")]
        assert shown == [
            ("asked", {"query": "x=1"}),
            ("done", {"status": "204", "query": "x=1"}),
            ("asked", {}),
            ("refused", {"status": "404"}),
        ]


async def test_what_only_agents_do_all_the_time_is_written_down_of_whoever_does_it_with_a_token(tmp_path: Path) -> None:
    path, body = "/weft/v1/hosts/h/refusals", b'{"refusals": []}'
    async with doors(tmp_path) as (found, clients):
        assert (await clients[Role.HOST].post(path, content=body)).status_code == 204
        assert await found.context.audit.entries(kind="operation") == ()
        assert (await clients[Role.ADMIN].post(path, content=body)).status_code == 204
        shown = [(each.who, each.what, each.outcome) for each in await found.context.audit.entries(kind="operation")]
        what = ("token admin", f"POST {path}")
        assert shown == [(*what, "asked"), (*what, "done")]


async def test_nothing_is_changed_while_it_cannot_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}

    def full(descriptor: int, data: bytes) -> int:  # noqa: ARG001 - as os.write
        raise OSError(28, "No space left on device")

    async with doors(tmp_path) as (found, clients):
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            answer = await clients[Role.ADMIN].delete("/weft/v1/hosts/h")
            assert (answer.status_code, answer.json()["details"]["problems"][0]["code"]) == (507, "WFT-1880")
            assert (await clients[Role.EDITOR].post("/api/v1/namespaces", json=namespace)).status_code == 507
            assert (await clients[Role.VIEWER].get("/api/v1/namespaces")).status_code == 200
            assert [host.report.host for host in found.context.registry.hosts] == ["h"]
            assert found.store.revision == 0
        assert (await clients[Role.EDITOR].post("/api/v1/namespaces", json=namespace)).status_code == 201


async def test_what_became_of_it_is_noted_when_the_log_fails_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with doors(tmp_path) as (found, clients):
        audit = found.context.audit
        real, calls = audit.record, 0

        async def second_fails(*arguments: object, **rest: object) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise UnusableError(problem("WFT-1880", "full", "make room", "audit"))
            await real(*arguments, **rest)  # type: ignore[arg-type]  # handed on

        monkeypatch.setattr(audit, "record", second_fails)
        assert (await clients[Role.ADMIN].delete("/weft/v1/hosts/h")).status_code == 204
        await audit.flush()
        assert [each.outcome for each in await audit.entries()] == ["asked", "done"]


def scope(client: tuple[str, int] | None) -> dict[str, object]:
    return {"type": "http", "method": "GET", "path": "/x", "query_string": b"", "headers": [], "client": client}


def test_on_the_unix_socket_only_the_owner_and_root_are_anybody() -> None:
    assert access.local(scope(("uid:0", 7)), 1000) == Caller(Role.ADMIN, "root", "uid:0 pid:7")
    assert access.local(scope(("uid:4000000", 1)), 4000000).role is Role.ADMIN
    assert access.local(scope(("uid:4000000", 1)), 1000) == Caller(Role.ANONYMOUS, "uid 4000000", "uid:4000000 pid:1")
    for nobody in (None, ("127.0.0.1", 1), ("uid:", 1), ("uid:-1", 1), ("uid:٣", 1), ("0", 0)):
        assert access.local(scope(nobody), 1000) is STRANGER, nobody


async def test_another_users_process_is_refused_and_that_is_written_down(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        transport = httpx2.ASGITransport(Local(app.app(found.context), os.getuid() + 1), client=("uid:4000000", 9))
        async with httpx2.AsyncClient(transport=transport, base_url="http://weft") as client:
            assert (await client.get("/weft/v1/proxies")).status_code == 401
        await found.context.audit.flush()
        (entry,) = await found.context.audit.entries()
        assert (entry.who, entry.where) == ("uid 4000000", "uid:4000000 pid:9")


async def test_an_application_without_a_door_serves_strangers_only_what_is_public(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        transport = httpx2.ASGITransport(app.app(found.context), client=("uid:0", 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://weft") as client:
            assert (await client.get("/weft/v1/proxies")).status_code == 401
            assert (await client.get("/livez")).status_code == 200


def test_a_caller_that_is_not_one_is_a_stranger() -> None:
    assert access.caller_of(Request(scope(None) | {CALLER: "admin"})) is STRANGER


async def test_only_requests_are_answered(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        with pytest.raises(TypeError):
            await app.app(found.context)({"type": "websocket"}, None, None)  # type: ignore[arg-type]  # never reached
