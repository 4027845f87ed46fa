"""Control's door: who comes in by it, as whom, and what strangers get there."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import anyio
import msgspec
import pytest

from tests.support import hosts, strangers, system
from tests.support.certificates import host_certificate
from tests.support.hosts import Host, rig
from tests.support.secrets import Authority
from weft.agent.trust import make_csr, make_key
from weft.envoy.door import MAX_STRANGERS
from weft.names import CONTROL_NAME, DOOR_PORT
from weft.xds.protocol import CLUSTER, LISTENER

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
    bob: {{command: [{sys.executable}, {system.ECHO}], port: 8081, capture: proxy, env: {{PORT: "8081"}}}}
"""
ADA: Final = "sidecar/default/ada-v1-0"
BOB: Final = "sidecar/default/bob-v1-0"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def control() -> AsyncIterator[Host]:
    async with rig(MESH, 1) as made:
        await made.until_everything_serves()
        yield made.control


async def test_a_proxy_gets_its_own_configuration_and_no_other(control: Host, tmp_path: Path) -> None:
    ada = (await strangers.svid(control, ADA, tmp_path)).file
    own = await strangers.xds(control.address, ada, ADA, 2.0, LISTENER, CLUSTER)
    assert (own.status, own.code) == ("200", ""), own
    assert b"inbound|8080" in own.data
    other = await strangers.xds(control.address, ada, BOB, 5.0, LISTENER, CLUSTER)
    assert (other.code, other.data) == ("7", b""), other
    unknown = await strangers.xds(control.address, ada, "sidecar/default/carl-v1-0", 5.0, LISTENER)
    assert (unknown.code, unknown.data) == ("7", b"")
    await control.until(lambda: _said(control, f"xDS as {BOB}"), "the refusal stands in the audit log")


async def _said(control: Host, text: str) -> bool:
    return any(text in path.read_text() for path in (control.state / "audit").glob("*") if path.is_file())


async def test_nobody_gets_configuration_without_a_certificate_or_with_a_hosts(control: Host, tmp_path: Path) -> None:
    nobody = await strangers.xds(control.address, None, ADA, 5.0, LISTENER)
    assert (nobody.status, nobody.data) in (("403", b""), ("200", b"")), nobody
    assert nobody.code in ("7", ""), nobody
    assert b"inbound" not in nobody.data
    bert = await strangers.host_svid(control, "bert-x", tmp_path)
    refused = await strangers.xds(control.address, bert, ADA, 5.0, LISTENER)
    assert (refused.code, refused.data) == ("7", b""), refused


async def test_a_hosts_agent_may_ask_for_what_is_its_own_alone(control: Host, tmp_path: Path) -> None:
    bert = await strangers.host_svid(control, "bert-y", tmp_path)
    report = msgspec.json.encode({"host": "bert-y", "workloads": []})
    own = [
        ("GET", "/weft/v1/placements?host=bert-y", b""),
        ("GET", "/weft/v1/names", b""),
        ("GET", "/weft/v1/trust", b""),
        ("PUT", "/weft/v1/hosts/bert-y", report),
    ]
    for method, path, body in own:
        status, said = await strangers.http(control.address, method, path, bert, body)
        assert status in (200, 204), (path, status, said)
    others = [
        ("GET", f"/weft/v1/placements?host={control.name}", b""),
        ("GET", f"/weft/v1/placements?host=bert-y&host={control.name}", b""),
        ("PUT", f"/weft/v1/hosts/{control.name}", report),
        ("PUT", "/weft/v1/hosts/bert-z", report),
        ("DELETE", "/weft/v1/hosts/bert-y", b""),
        ("GET", "/weft/v1/hosts", b""),
        ("GET", f"/weft/v1/proxies/{ADA}/held", b""),
        ("POST", "/weft/v1/apply", b"{}"),
        ("GET", "/api/v1/namespaces/default/services", b""),
        ("GET", "/metrics", b""),
    ]
    for method, path, body in others:
        status, said = await strangers.http(control.address, method, path, bert, body)
        assert status == 403, (path, status, said)
    node = {"requests": [{"node": ADA, "csr": base64.b64encode(make_csr(make_key())).decode()}]}
    status, said = await strangers.http(control.address, "POST", "/weft/v1/svids", bert, msgspec.json.encode(node))
    assert status == 200
    assert said["svids"][0]["problem"]["code"] == "WFT-1805"


async def test_a_host_does_not_become_an_endpoint_of_what_was_placed_elsewhere(control: Host, tmp_path: Path) -> None:
    bert = await strangers.host_svid(control, "bert-z", tmp_path)
    port = {"number": 8080, "name": "http", "protocol": "http", "listen": {"path": "/r/1"}, "application": {}}
    ada = {"namespace": "default", "name": "ada-v1-0", "host": control.name, "labels": [["app", "ada"]]}
    liar = {"host": "bert-z", "address": "10.0.0.9", "workloads": [{**ada, "ports": [{**port, "state": "serving"}]}]}
    status, _ = await strangers.http(control.address, "PUT", "/weft/v1/hosts/bert-z", bert, msgspec.json.encode(liar))
    assert status == 204
    items = {item["host"]: item for item in (await control.ask("/weft/v1/hosts"))["items"]}
    assert (items["bert-z"]["workloads"], len(items[control.name]["workloads"])) == ([], 3)


async def test_a_workloads_identity_opens_no_path_of_the_api(control: Host, tmp_path: Path) -> None:
    ada = (await strangers.svid(control, ADA, tmp_path)).file
    for path in ("/weft/v1/proxies", "/weft/v1/names", f"/weft/v1/placements?host={control.name}", "/metrics"):
        status, said = await strangers.http(control.address, "GET", path, ada)
        assert status == 401, (path, status, said)


async def test_what_a_client_says_of_its_certificate_is_not_believed(control: Host, tmp_path: Path) -> None:
    forged = f"URI=spiffe://local/weft/host/{control.name}"
    status, _ = await strangers.http(control.address, "GET", "/weft/v1/names", None, x_forwarded_client_cert=forged)
    assert status == 403
    status, _ = await strangers.http(
        control.address, "GET", "/weft/v1/names", None, x_forwarded_client_cert=forged, authorization="bearer nonsense"
    )
    assert status == 401
    ada = (await strangers.svid(control, ADA, tmp_path)).file
    status, _ = await strangers.http(control.address, "GET", "/weft/v1/names", ada, x_forwarded_client_cert=forged)
    assert status == 401


@pytest.mark.parametrize(
    "smuggled",
    [
        b"X-Forwarded-Client-Cert: URI=%s\r\nx-forwarded-client-cert: URI=%s\r\n",
        b"x-forwarded-client-cert : URI=%s\r\nx: %s\r\n",
        b"x_forwarded_client_cert: URI=%s\r\nX_FORWARDED-CLIENT-CERT: URI=%s\r\n",
        b"connection: x-forwarded-client-cert\r\nx-forwarded-client-cert: URI=%s\r\nx: %s\r\n",
        b"x: y\r\n x-forwarded-client-cert: URI=%s\r\nx-envoy-external-address: %s\r\n",
        (
            b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\nGET /weft/v1/names HTTP/1.1\r\nhost: control\r\n"
            b"x-forwarded-client-cert: URI=%s\r\nx: %s\r\n"
        ),
        b"transfer-encoding: chunked\r\n\r\n0\r\nx-forwarded-client-cert: URI=%s\r\nx: %s\r\n",
    ],
)
@pytest.mark.parametrize("path", [b"/weft/v1/names", b"http://control/weft/v1/names"])
async def test_no_header_makes_anybody_a_host(control: Host, smuggled: bytes, path: bytes) -> None:
    """Twice, in other cases and spellings, in trailers, behind the end of a request: without a certificate, with any token."""
    forged = b"spiffe://local/weft/host/bert-s"
    reader, writer = await asyncio.open_connection(
        control.address, DOOR_PORT, ssl=strangers.context(None, "http/1.1"), server_hostname=""
    )
    head = b"GET %s HTTP/1.1\r\nhost: control\r\nauthorization: bearer nonsense\r\n" % path
    writer.write(head + smuggled.replace(b"%s", forged) + b"connection: close\r\n\r\n")
    said = b""
    with contextlib.suppress(TimeoutError, OSError):
        said = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert b"HTTP/1.1 200" not in said
    assert b"services" not in said


async def test_strangers_who_send_slowly_hold_up_no_host(control: Host, tmp_path: Path) -> None:
    bert = await strangers.host_svid(control, "bert-slow", tmp_path)
    held: list[asyncio.StreamWriter] = []
    try:
        for _ in range(3 * MAX_STRANGERS):
            _, writer = await asyncio.open_connection(
                control.address, DOOR_PORT, ssl=strangers.context(None, "http/1.1"), server_hostname=""
            )
            writer.write(b"POST /weft/v1/join HTTP/1.1\r\nhost: control\r\ncontent-length: 500\r\n\r\n{")
            held.append(writer)
        status, _ = await strangers.http(control.address, "GET", "/weft/v1/names", bert)
        assert status == 200
        assert (await strangers.http(control.address, "GET", "/livez"))[0] == 503
    finally:
        for writer in held:
            writer.close()


async def test_what_a_banned_host_watches_ends(control: Host, tmp_path: Path) -> None:
    bert = await strangers.host_svid(control, "bert-b", tmp_path)
    reader, writer = await asyncio.open_connection(
        control.address, DOOR_PORT, ssl=strangers.context(bert, "http/1.1"), server_hostname=CONTROL_NAME
    )
    writer.write(b"GET /weft/v1/trust?watch=true HTTP/1.1\r\nhost: control\r\n\r\n")
    with anyio.fail_after(20):
        while b"sequence" not in await reader.readline():
            pass
        identity = "spiffe://local/weft/host/bert-b"
        await control.ask("/weft/v1/bans", "POST", msgspec.json.encode({"who": identity}).decode())
        rest = await reader.read()
    writer.close()
    assert identity.encode() not in rest
    assert (await strangers.http(control.address, "GET", "/weft/v1/names", bert))[0] == 401


async def test_a_certificate_of_another_authority_is_refused(control: Host, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.pem"
    made = Authority("local").svid("spiffe://local/weft/host/bert")
    foreign.write_bytes(made.key + made.chain)
    status, _ = await strangers.http(control.address, "GET", "/weft/v1/names", foreign)
    assert status == 0


async def test_of_a_hundred_who_redeem_one_token_exactly_one_joins(control: Host) -> None:
    token = await hosts.token(control, "one")
    answers: list[int] = []

    async def redeem() -> None:
        answers.append((await strangers.join(control, "one", token))[0])

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(redeem)
    assert sorted(set(answers)) == [200, 403]
    assert answers.count(200) == 1


async def test_a_host_joins_by_the_certificate_that_it_has_and_another_does_not(control: Host) -> None:
    now, offer = datetime.now(UTC), await strangers.http(control.address, "GET", "/weft/v1/join", None)
    root = hashlib.sha256(base64.b64decode(offer[1]["x509"][0])).digest()
    (held, ca), (other, _) = host_certificate("dora", now), host_certificate("dora", now)
    invite = {"join": "dora", "ca": ca.decode()}
    said = await control.ask("/weft/v1/tokens", "POST", msgspec.json.encode(invite).decode())
    assert said["fingerprint"] == root.hex()
    for shown, wanted in ((other, 403), (held, 200), (held, 403)):
        csr = make_csr(make_key())
        body = {"host": "dora", "csr": csr, "proof": shown.prove("dora", csr, root, now)}
        status, answer = await strangers.http(control.address, "POST", "/weft/v1/join", None, msgspec.json.encode(body))
        assert status == wanted, answer
    await control.until(lambda: _said(control, "not signed by the certificate above it"), "the audit log says why")


async def test_a_token_is_for_its_host_and_its_time(control: Host) -> None:
    token = await hosts.token(control, "carl")
    for name, wanted in (("cora", 403), (control.name, 403), ("a b", 403), ("carl", 200), ("carl", 403)):
        status, said = await strangers.join(control, name, token)
        assert status == wanted, (name, said)


async def test_garbage_at_the_door_harms_nobody(control: Host) -> None:
    rubbish = (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b"\x16\x03\x01\xff\xff" + os.urandom(300), b"")
    for data in rubbish * 5:
        reader, writer = await asyncio.open_connection(control.address, DOOR_PORT)
        writer.write(data)
        if not data:
            writer.close()
            continue
        try:
            assert not (await asyncio.wait_for(reader.read(4096), 15)).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            pass
        finally:
            writer.close()
    assert await hosts.door_answers(control.address)
