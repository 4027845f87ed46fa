"""Attacks on control's door by hosts that were taken over, by revoked tokens, and by strangers. On the running system."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import sys
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec
import pytest

from tests.support import hosts, strangers, system
from tests.support.hosts import Host, rig
from weft import names
from weft.agent.trust import make_csr, make_key
from weft.names import CONTROL_NAME, DOOR_PORT, RELAY_PORT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.anyio,
    pytest.mark.needs("ip", "nsenter"),
    pytest.mark.skipif(not hosts.can(), reason="making network namespaces needs root"),
]

MESH: Final = f"""
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: test}}
spec:
  services:
    ada: {{command: [{sys.executable}, {system.ECHO}], port: 8080, capture: proxy}}
"""
ADA: Final = "sidecar/default/ada-v1-0"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def control() -> AsyncIterator[Host]:
    async with rig(MESH, 1) as made:
        await made.until_everything_serves()
        yield made.control


class Line:
    """One TLS connection to the door that is kept open, HTTP/1.1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, control: Host, shown: Path | None) -> Line:
        made = strangers.context(shown, "http/1.1")
        name = CONTROL_NAME if shown is not None else ""
        return cls(*await asyncio.open_connection(control.address, DOOR_PORT, ssl=made, server_hostname=name))

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Status and body of a request whose answer has a length; 0 where the connection was ended instead."""
        try:
            await self.say(method, path, body, **headers)
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
            length = next(
                (int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l")),
                0,
            )
            return int(head.split(b" ", 2)[1]), await asyncio.wait_for(self.reader.readexactly(length), 20)
        except (OSError, asyncio.IncompleteReadError):
            return 0, b""

    async def say(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        head = f"{method} {path} HTTP/1.1\r\nhost: control\r\n{lines}content-length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()


def csr(node: str) -> bytes:
    return msgspec.json.encode({"requests": [{"node": node, "csr": base64.b64encode(make_csr(make_key())).decode()}]})


async def made_token(control: Host, name: str, role: str) -> str:
    said = await control.ask("/weft/v1/tokens", "POST", msgspec.json.encode({"name": name, "role": role}).decode())
    return str(said["token"])


async def audited(control: Host, text: str) -> bool:
    found: dict[str, Any] = await control.ask("/weft/v1/audit?limit=1000")
    return any(text in f"{entry['who']} {entry['what']}" for entry in found["items"])


async def test_a_token_that_is_revoked_hears_nothing_more_on_what_it_watches(control: Host) -> None:
    token = await made_token(control, "watcher", "viewer")
    line = await Line.open(control, None)
    try:
        await line.say("GET", "/weft/v1/trust?watch=true", authorization=f"Bearer {token}")
        with anyio.fail_after(30):
            while b"sequence" not in await line.reader.readline():
                pass
        code, out, err = await control.weft("token", "revoke", "watcher")
        assert code == 0, (out, err)
        identity = "spiffe://local/ns/default/sa/banned-later"
        await control.ask("/weft/v1/bans", "POST", msgspec.json.encode({"who": identity}).decode())
        with anyio.fail_after(30):
            rest = await line.reader.read()
        assert identity.encode() not in rest
    finally:
        line.close()


async def test_an_svid_that_a_token_has_signed_stands_in_the_audit_log(control: Host) -> None:
    token = await made_token(control, "minter", "admin")
    line = await Line.open(control, None)
    try:
        status, said = await line.ask("POST", "/weft/v1/svids", csr(ADA), authorization=f"Bearer {token}")
        assert (status, b"spiffe://local/ns/default/sa/ada" in said) == (200, True)
        assert await audited(control, "token minter POST /weft/v1/svids")
    finally:
        line.close()


async def test_a_host_that_holds_many_watches_open_keeps_no_other_host_out(control: Host, tmp_path: Path) -> None:
    """More than control has room for, over as many connections as it likes."""
    bad, good = (
        await strangers.host_svid(control, "bert-flood", tmp_path),
        await strangers.host_svid(control, "bert-good", tmp_path),
    )
    lines: list[Line] = []
    try:
        refused = 0
        for _ in range(2_100):
            line = await Line.open(control, bad)
            lines.append(line)
            await line.say("GET", "/weft/v1/names?watch=true")
            if len(lines) % 100 == 0:
                head = await asyncio.wait_for(line.reader.readuntil(b"\r\n\r\n"), 20)
                refused = refused + 1 if b" 429 " in head else 0
            if refused == 2:
                break
        status, _ = await strangers.http(control.address, "GET", "/weft/v1/names", good)
        assert status == 200
        assert refused == 2
    finally:
        for line in lines:
            line.close()


async def test_who_has_no_token_learns_no_host_s_name_from_the_door(control: Host, tmp_path: Path) -> None:
    await strangers.host_svid(control, "secret-name", tmp_path)
    answers = []
    for guess in ("SECRET-NAME", "secret-name", "nobody-here", control.name, control.name.upper()):
        body = {"token": "weft_join_" + "A" * 86, "host": guess, "csr": base64.b64encode(make_csr(make_key())).decode()}
        status, said = await strangers.http(control.address, "POST", "/weft/v1/join", None, msgspec.json.encode(body))
        answers.append((status, said["details"]["problems"][0]["message"]))
    assert set(answers) == {answers[0]}, answers
    assert answers[0][0] == 403


SPELLINGS: Final = (
    "/weft/v1/join/../hosts",
    "/weft/v1/join/..%2fhosts",
    "/weft/v1/join/%2e%2e/hosts",
    "/weft/v1/join%2f..%2fhosts",
    "/livez/../weft/v1/hosts",
    "/livez/%2e%2e/weft/v1/hosts",
    "/livez\\..\\weft\\v1\\hosts",
    "/livez/..;/weft/v1/hosts",
    "//weft/v1/hosts",
    "/./weft/v1/hosts",
    "/weft/v1/hosts/",
    "/weft/v1/hosts?x=/livez",
    "/livez%00/../weft/v1/hosts",
    "/weft%2fv1%2fhosts",
    "/%77eft/v1/hosts",
    "/weft/v1/tokens",
    "/weft/v1/audit?watch=true",
    "/weft/v1/trust?watch=true",
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/../../weft/v1/hosts",
    "http://localhost/weft/v1/hosts",
    "*",
)
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get")
OPEN: Final = ("/livez", "/readyz", "/weft/v1/join")


async def test_no_spelling_and_no_method_opens_more_to_a_stranger(control: Host) -> None:
    """Without a token the door's Envoy refuses, with a wrong one control does."""
    let_in = []

    async def ask(method: str, path: str, headers: dict[str, str]) -> None:
        status, said = await strangers.http(control.address, method, path, None, b"", **headers)
        if status not in (0, 400, 401, 403, 404, 405, 501):
            let_in.append((method, path, headers, status, said))

    async with anyio.create_task_group() as tasks:
        for headers in ({}, {"authorization": "Bearer weft_nonsense"}):
            for method in METHODS:
                for path in (*SPELLINGS, "/weft/v1/hosts") if method in ("GET", "POST") else ("/weft/v1/hosts", *OPEN):
                    if method not in ("GET", "HEAD") or path not in OPEN:
                        tasks.start_soon(ask, method, path, headers)
    assert let_in == []


@pytest.mark.parametrize("authorization", [b"", b"authorization: Bearer weft_nonsense\r\n"])
async def test_the_door_is_no_proxy(control: Host, authorization: bytes) -> None:
    for target in (b"127.0.0.1:15000", b"control:15012", b"/livez", b"169.254.169.254:80"):
        made = strangers.context(None, "http/1.1")
        reader, writer = await asyncio.open_connection(control.address, DOOR_PORT, ssl=made, server_hostname="")
        writer.write(b"CONNECT %s HTTP/1.1\r\nhost: control\r\n%s\r\n" % (target, authorization))
        said = await asyncio.wait_for(reader.readline(), 20)
        assert said[:11] in (b"", b"HTTP/1.1 40"), (target, said)
        writer.close()


async def test_nothing_older_than_tls_1_3_is_spoken_and_no_certificate_is_asked_for_under_another_name(
    control: Host, tmp_path: Path
) -> None:
    host = await strangers.host_svid(control, "bert-tls", tmp_path)
    old = strangers.context(host, "http/1.1")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    for name in (CONTROL_NAME, ""):
        with pytest.raises(OSError, match=r"(?i)protocol|alert|reset|closed"):
            await asyncio.open_connection(control.address, DOOR_PORT, ssl=old, server_hostname=name)
    for name in ("", "control.weft.local", "localhost"):
        made = strangers.context(host, "http/1.1")
        reader, writer = await asyncio.open_connection(control.address, DOOR_PORT, ssl=made, server_hostname=name)
        writer.write(b"GET /weft/v1/names HTTP/1.1\r\nhost: control\r\nconnection: close\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.1 403 "), name
        writer.close()


async def test_the_host_proxy_passes_on_no_plaintext_and_nothing_to_a_name_that_is_not_here(
    control: Host, tmp_path: Path
) -> None:
    """15008 hands TLS to whoever it names, unread; who is named asks for a certificate of the mesh."""
    for said in (
        b"CONNECT 127.0.0.1:15000 HTTP/1.1\r\nhost: 127.0.0.1:15000\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: ada\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection(control.address, RELAY_PORT)
        writer.write(said)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
    here = names.peer_name(8080, "ada-v1-0", "default", control.name)
    ada = (await strangers.svid(control, ADA, tmp_path)).file
    for name, shown in (
        (CONTROL_NAME, ada),
        ("localhost", ada),
        (here.replace("8080", "15000"), ada),
        (here.replace("ada", "bob"), ada),
        (here, None),
    ):
        made = strangers.context(shown, "weft-http")
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(control.address, RELAY_PORT, ssl=made, server_hostname=name)
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
            assert await asyncio.wait_for(reader.read(), 30) == b"", name
            writer.close()


async def test_an_open_connection_is_worth_nothing_when_its_authority_was_revoked(
    control: Host, tmp_path: Path
) -> None:
    """The last one: everything that had an SVID before has a worthless one after. Whoever stole the old root waits with
    open connections for the new one to sign for him.
    """
    line = await Line.open(control, await strangers.host_svid(control, "bert-thief", tmp_path))
    watch = await Line.open(control, await strangers.host_svid(control, "bert-watch", tmp_path))
    try:
        assert (await line.ask("GET", "/weft/v1/names"))[0] == 200
        await watch.say("GET", "/weft/v1/trust?watch=true")
        with anyio.fail_after(30):
            while b"sequence" not in await watch.reader.readline():
                pass
        old = (await control.ask("/weft/v1/trust"))["authority"]
        await control.ask("/weft/v1/authorities/rotate", "POST", '{"force": true}')

        async def revoked() -> bool:
            found = (await control.ask("/weft/v1/authorities"))["authorities"]
            return any(each["id"] == old and each["state"] == "revoked" for each in found)

        await control.until(revoked, "the old authority is revoked")
        status, said = await line.ask("POST", "/weft/v1/svids", csr("host/bert-thief"))
        assert (status in (0, 401), b"chain" in said) == (True, False), (status, said)
        with contextlib.suppress(OSError), anyio.fail_after(60):
            await control.ask("/weft/v1/bans", "POST", '{"who": "spiffe://local/ns/default/sa/after"}')
            assert b"/sa/after" not in await watch.reader.read()
    finally:
        line.close()
        watch.close()
