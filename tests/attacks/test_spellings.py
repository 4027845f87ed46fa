"""E20-22: every way to write a path, a Host and a header so that a DENY does not see it and the application does.

Each request is sent as bytes to the real Envoy. Nothing that a DENY means reaches the application, the documented application
semantics aside (docs/concepts/policy.md): what only an application that decodes twice, folds case, or cuts parameters
would take for the same path is another path to a proxy.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import pytest

from tests.envoy.policy_rig import Guarded, guarded
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Question, Text, TextKind

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def guard(question: Question, action: Action = Action.DENY) -> Guard:
    source = "AuthorizationPolicy/default/doors"
    rule = AuthRule(source=f"{source}/rules/0", operations=((question,),))
    return Guard(policies=(AuthPolicy(source=source, action=action, rules=(rule,)),))


def exactly(attribute: Attribute, value: str, name: str = "", kind: TextKind = TextKind.EXACT) -> Question:
    return Question(attribute, (Text(kind, value),), name=name)


ADMIN = guard(exactly(Attribute.PATH, "/admin", kind=TextKind.PREFIX))
ADMIN_TEMPLATE = guard(
    Question(Attribute.PATH, (Text(TextKind.TEMPLATE, "/admin/{*}/x"), Text(TextKind.TEMPLATE, "/admin/{**}")))
)
ADMIN_HOST = guard(exactly(Attribute.HOST, "admin.example"))
GUEST = guard(exactly(Attribute.HEADER, "guest", "x-role"))


async def sent(edge: Guarded, data: bytes) -> int:
    """The status that these bytes are answered with; 0 when the connection is closed without one."""
    reader, writer = await asyncio.open_unix_connection(str(edge.door))
    writer.write(data)
    try:
        async with asyncio.timeout(10):
            line = await reader.readline()
    finally:
        writer.close()
    return int(line.split()[1]) if line else 0


async def statuses(edge: Guarded, requests: list[bytes]) -> dict[bytes, int]:
    return {request: await sent(edge, request) for request in requests}


def get(path: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n"


PATHS = (
    *(b"/admin", b"/admin/", b"/admin?x=1", b"/admin;x", b"//admin", b"///admin", b"/./admin", b"/.//admin"),
    *(b"/x/../admin", b"/x/y/../../admin", b"/%61dmin", b"/%61%64%6d%69%6e", b"/ad%6Din", b"/%2e/admin"),
    *(b"/x/%2e%2e/admin", b"/x/.%2e/admin", b"/x/%2E./admin", b"/admin%2f", b"/%2fadmin", b"/x%2f..%2fadmin"),
    *(b"/x/..%2fadmin", b"/x/..%5cadmin", b"/x\\..\\admin", b"/\\admin", b"\\admin", b"/%5cadmin", b"/%5Cadmin"),
    *(b"/.;/admin", b"/admin#x", b"/%00/admin", b"/admin%00", b"/\t/admin", b"*", b"admin", b"/\xff/../admin"),
    *(b"http://app.example/admin", b"HTTP://APP.example/x/../admin", b"http://app.example//admin", b"http:/admin"),
    *(b"/x/..//admin", b"/x/./../admin", b"/..//admin", b"/../admin", b"/%2e%2e/admin"),
)
SEMANTICS = (
    *(b"/ADMIN", b"/;/admin", b"/;x/admin", b"/%2561dmin", b"/x/%252e%252e/admin", b"/%c0%af/admin"),
    *(b"/%ef%bc%8fadmin", b"/%u0061dmin"),
)
"""The same path only to an application that does more than HTTP says."""


async def test_no_spelling_of_a_path_passes_a_deny(envoy_binary: Path) -> None:
    async with guarded(envoy_binary, ADMIN) as edge:
        found = await statuses(edge, [get(path) for path in PATHS])
        passed = [request for request, status in found.items() if status not in (400, 403)]
        assert passed == []
        assert edge.seen == []


SAME = {
    "/v1/users:delete": ("/v1/users:delete", "/v1/users%3Adelete", "/v1/users%3adelete", "/v1/./users%3Adelete"),
    "/caf%C3%A9": ("/caf%C3%A9", "/caf%c3%a9", "/caf%C3%a9", "/%63af%c3%A9"),
    "/caf\u00e9": ("/caf%C3%A9", "/caf%c3%a9"),
    "/a b": ("/a%20b",),
    "/f(1)": ("/f(1)", "/f%281%29", "/f%281)"),
    "/a%3Bb": ("/a;b", "/a%3bb"),
    "/x|y": ("/x|y", "/x%7Cy", "/x%7cy"),
}
"""Rules, and requests that every application reads as the path that the rule names."""


@pytest.mark.parametrize("rule", SAME)
async def test_no_escape_of_a_letter_passes_a_deny(envoy_binary: Path, rule: str) -> None:
    async with guarded(envoy_binary, guard(exactly(Attribute.PATH, rule))) as edge:
        found = await statuses(edge, [get(path.encode()) for path in SAME[rule]])
        assert set(found.values()) == {403}
        assert edge.seen == []
        assert await sent(edge, get(b"/other")) == 200


async def test_what_only_an_application_would_take_for_the_path_reaches_it_unchanged(envoy_binary: Path) -> None:
    async with guarded(envoy_binary, ADMIN) as edge:
        assert set((await statuses(edge, [get(path) for path in SEMANTICS])).values()) == {200}
        assert edge.seen == sorted(f"GET {path.decode()}" for path in SEMANTICS)


async def test_the_application_sees_the_path_that_was_decided_about(envoy_binary: Path) -> None:
    async with guarded(envoy_binary, ADMIN) as edge:
        for path in (b"/admin/..", b"/admin/../x", b"/x/%2e%2e/y", b"//y", b"/y%2fz", b"/z//..//admin"):
            assert await sent(edge, get(path)) == 200
        assert edge.seen == ["GET /", "GET /x", "GET /y", "GET /y", "GET /y/z", "GET /z/admin"]


async def test_no_letter_passes_a_template(envoy_binary: Path) -> None:
    odd = [bytes([code]) for code in range(33, 127) if chr(code) not in "/?#.\\%"] + [b"%20", b"%7f", b"%c3%bc", b"%ff"]
    async with guarded(envoy_binary, ADMIN_TEMPLATE) as edge:
        found = await statuses(edge, [get(b"/admin/" + each) for each in odd])
        found |= await statuses(edge, [get(b"/admin/" + each + b"/x") for each in odd])
        assert [request for request, status in found.items() if status not in (400, 403)] == []
        assert edge.seen == []


HOSTS = (
    *(b"Host: admin.example", b"Host: ADMIN.example", b"host:admin.example", b"Host: \tadmin.example "),
    *(b"Host: admin.example:80", b"Host: admin.example:", b"Host: admin.example:x", b"Host: admin.example."),
    *(b"Host: admin.example.:80", b"Host: admin.example..", b"Host: x@admin.example", b"Host: a:b@admin.example"),
    *(b"Host: a.example\r\nHost: admin.example", b"Host: admin.example\r\nHost: a.example"),
    *(b"Host: a.example, admin.example", b"Host: admin.example, a.example", b"Host : admin.example"),
    *(
        b"Host: admin.example/",
        b"Host: admin.example#",
        b"Host: admin.example\x00",
        b"Host: a.example\r\n admin.example",
    ),
    *(b":authority: admin.example\r\nHost: a.example", b"Host: admin.example?"),
)


async def test_no_spelling_of_a_host_passes_a_deny(envoy_binary: Path) -> None:
    lines = [
        *(b"GET / HTTP/1.1\r\n" + head + b"\r\nConnection: close\r\n\r\n" for head in HOSTS),
        b"GET http://admin.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET http://ADMIN.example.:80/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET http://x@admin.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: admin.example\r\n\r\n",
        b"GET http://admin.example/ HTTP/1.0\r\n\r\n",
    ]
    async with guarded(envoy_binary, ADMIN_HOST) as edge:
        found = await statuses(edge, lines)
        assert [request for request, status in found.items() if status not in (400, 403)] == []
        assert edge.seen == []
        assert await sent(edge, b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n") == 200


async def test_only_the_host_itself_passes_an_allow(envoy_binary: Path) -> None:
    allowed = guard(exactly(Attribute.HOST, "admin.example"), Action.ALLOW)
    doubtful = (
        *(b"Host: x@admin.example", b"Host: admin.example:x", b"Host: a.example\r\nHost: admin.example"),
        *(b"Host: admin.example\r\nHost: a.example", b"Host: notadmin.example", b"Host: admin.example.evil"),
    )
    async with guarded(envoy_binary, allowed) as edge:
        lines = [b"GET / HTTP/1.1\r\n" + head + b"\r\nConnection: close\r\n\r\n" for head in doubtful]
        found = await statuses(edge, [*lines, b"GET / HTTP/1.0\r\n\r\n"])
        assert [request for request, status in found.items() if status not in (400, 403)] == []
        for good in (b"admin.example", b"Admin.Example", b"admin.example:8080", b"admin.example."):
            assert await sent(edge, b"GET / HTTP/1.1\r\nHost: " + good + b"\r\nConnection: close\r\n\r\n") == 200


HEADERS = (
    *(b"x-role: guest", b"X-ROLE: guest", b"x-role:guest", b"x-role:\tguest ", b"x-role : guest"),
    *(b"x-role: guest\r\nx-role: admin", b"x-role: admin\r\nx-role: guest", b"x-role: admin, guest"),
    *(b"x-role: guest,admin", b"x-role: a\r\nx-role: guest\r\nx-role: b", b"x-role: \x00guest"),
    *(b"x_role: guest", b"X_Role: guest\r\nx-role: admin", b"x-role: admin\r\nx_role: a,guest"),
)


async def test_no_spelling_of_a_header_passes_a_deny(envoy_binary: Path) -> None:
    async with guarded(envoy_binary, GUEST) as edge:
        lines = [b"GET / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\nConnection: close\r\n\r\n" for head in HEADERS]
        found = await statuses(edge, lines)
        assert [request for request, status in found.items() if status not in (400, 403)] == []
        assert edge.seen == []


async def test_a_header_that_came_twice_passes_no_allow(envoy_binary: Path) -> None:
    allowed = guard(exactly(Attribute.HEADER, "admin", "x-role"), Action.ALLOW)
    async with guarded(envoy_binary, allowed) as edge:
        for twice in (
            ["guest", "admin"],
            ["admin", "guest"],
            ["admin", "admin"],
            ["admin", ""],
            ["admin,guest"],
            ["guest, admin"],
        ):
            assert await edge.status("/", headers=[("x-role", each) for each in twice]) == 403, twice
        assert await edge.status("/", headers=[("x-role", "admin"), ("x_role", "guest")]) == 403
        assert await edge.status("/", headers=[("x_role", "admin")]) == 403
        assert await edge.status("/", headers=[("x-role", "admin")]) == 200


async def test_a_header_that_is_there_and_empty_is_there_where_it_shall_not_be(envoy_binary: Path) -> None:
    none = Question(Attribute.HEADER, (), (Text(TextKind.PRESENT),), name="x-debug")
    async with guarded(envoy_binary, guard(none, Action.ALLOW)) as edge:
        for name in ("x-debug", "x_debug"):
            assert await edge.status("/", headers=[(name, "")]) == 403
            assert await edge.status("/", headers=[(name, "1")]) == 403
        assert await edge.status("/") == 200


async def over_http2(edge: Guarded, headers: list[tuple[str, str]]) -> int:
    """The status of one request over HTTP/2, written as given; 0 when the stream or the connection is reset."""
    reader, writer = await asyncio.open_unix_connection(str(edge.door))
    config = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="utf-8"
    )
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    connection.send_headers(1, headers, end_stream=True)
    writer.write(connection.data_to_send())
    try:
        async with asyncio.timeout(10):
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.ResponseReceived):
                        return int(event.headers[0][1])
                    if isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                        return 0
                writer.write(connection.data_to_send())
    finally:
        writer.close()
    return 0


def pseudo(path: str = "/", authority: str = "app.example", *more: tuple[str, str]) -> list[tuple[str, str]]:
    return [(":method", "GET"), (":scheme", "http"), (":authority", authority), (":path", path), *more]


async def test_no_spelling_of_a_path_passes_a_deny_over_http2(envoy_binary: Path) -> None:
    paths = [path.decode("latin1") for path in PATHS]
    requests = [pseudo(path) for path in paths]
    requests += [[*pseudo("/x"), (":path", "/admin")], [*pseudo("/admin"), (":path", "/x")]]
    async with guarded(envoy_binary, ADMIN) as edge:
        found = [(request, await over_http2(edge, request)) for request in requests]
        assert [request for request, status in found if status not in (0, 400, 403)] == []
        assert edge.seen == []
        assert await over_http2(edge, pseudo("/open")) == 200


async def test_no_spelling_of_a_host_passes_a_deny_over_http2(envoy_binary: Path) -> None:
    requests = [
        *(pseudo("/", each) for each in ("admin.example", "ADMIN.example", "admin.example:80", "admin.example.")),
        *(pseudo("/", each) for each in ("x@admin.example", "a.example,admin.example", "admin.example:x")),
        [*pseudo("/", "a.example"), (":authority", "admin.example")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "admin.example")],
        pseudo("/", "admin.example", ("host", "a.example")),
    ]
    async with guarded(envoy_binary, ADMIN_HOST) as edge:
        found = [(request, await over_http2(edge, request)) for request in requests]
        assert [request for request, status in found if status not in (0, 400, 403)] == []
        assert edge.seen == []


async def test_a_host_header_beside_an_authority_never_reaches_the_application(envoy_binary: Path) -> None:
    heads: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async with guarded(envoy_binary, ADMIN_HOST) as edge:
        raw = await edge.mesh.serve_raw("raw", talk)
        edge.apps["app"].socket = raw
        edge.mesh.refresh()
        await edge.mesh.fleet.settled(edge.mesh.revision)
        status = await over_http2(edge, pseudo("/", "a.example", ("host", "admin.example")))
        assert status in (0, 200, 400, 403)
        assert not any("admin.example" in head for head in heads)
