"""Clients at control's door that are not who they should be: raw TLS, HTTP/1.1 and gRPC over HTTP/2, with any certificate."""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import h2.config
import h2.connection
import h2.events
import msgspec

from tests.support.hosts import token
from weft.agent.trust import key_der, make_csr, make_key
from weft.envoy import api
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.identity import pem
from weft.names import CONTROL_NAME, DOOR_PORT
from weft.xds.protocol import METHOD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hosts import Host

SECONDS: Final = 10.0


class Svid(NamedTuple):
    """A key with its certificates as ``ssl`` wants them, and the root (DER)."""

    file: Path
    root: bytes


async def svid(host: Host, node: str, directory: Path) -> Svid:
    """A good SVID for a proxy of the host that runs control, as its agent would get it."""
    key = make_key()
    body = {"requests": [{"node": node, "csr": base64.b64encode(make_csr(key)).decode()}]}
    answer = await host.ask("/weft/v1/svids", "POST", msgspec.json.encode(body).decode())
    chain = tuple(base64.b64decode(each) for each in answer["svids"][0]["chain"])
    trust = await host.ask("/weft/v1/trust")
    file = directory / f"{node.replace('/', '.')}.pem"
    file.write_bytes(pem.private_key(key_der(key)) + pem.certificates(chain))
    return Svid(file, base64.b64decode(trust["bundles"][0]["x509"][0]))


def context(shown: Path | None, protocol: str) -> ssl.SSLContext:
    """A client that believes everybody: the server is not what is tested here."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols([protocol])
    if shown is not None:
        made.load_cert_chain(shown)
    return made


async def http(
    address: str, method: str, path: str, shown: Path | None = None, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, Any]]:
    """Status and JSON of one HTTP/1.1 request; 0 when the connection was ended. Underscores in names stand for dashes."""
    made = context(shown, "http/1.1")
    name = CONTROL_NAME if shown is not None else ""
    reader, writer = await asyncio.open_connection(address, DOOR_PORT, ssl=made, server_hostname=name)
    lines = "".join(f"{key.replace('_', '-')}: {value}\r\n" for key, value in headers.items())
    try:
        writer.write(
            f"{method} {path} HTTP/1.1\r\nhost: control\r\nconnection: close\r\n{lines}"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        raw = await asyncio.wait_for(reader.read(), SECONDS)
    except (OSError, TimeoutError):
        return 0, {}
    finally:
        writer.close()
    head, _, rest = raw.partition(b"\r\n\r\n")
    parts = head.split(b" ", 2)
    if b"transfer-encoding: chunked" in head.lower():
        rest = rest.partition(b"\r\n")[2].rpartition(b"\r\n0\r\n")[0]
    try:
        said = dict(msgspec.json.decode(rest)) if rest else {}
    except msgspec.DecodeError:
        said = {"text": rest.decode(errors="replace")}
    return (int(parts[1]) if len(parts) > 1 else 0), said


class Stream(NamedTuple):
    """What a gRPC stream was given: HTTP status, gRPC status and message (empty while it goes on), bytes of responses."""

    status: str
    code: str
    message: str
    data: bytes


async def xds(address: str, shown: Path | None, node: str, seconds: float = 2.0, *types: str) -> Stream:
    """Ask for everything of the ``types`` as ``node`` on one delta stream, and read for so long or to its end."""
    name = CONTROL_NAME if shown is not None else ""
    reader, writer = await asyncio.open_connection(address, DOOR_PORT, ssl=context(shown, "h2"), server_hostname=name)
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    headers = [(":method", "POST"), (":scheme", "https"), (":authority", "control"), (":path", METHOD)]
    connection.send_headers(1, [*headers, ("te", "trailers"), ("content-type", "application/grpc")])
    for kind in types:
        request = discovery.DeltaDiscoveryRequest(node=core.Node(id=node), type_url=kind)
        wire = api.serialize(request)
        connection.send_data(1, b"\0" + len(wire).to_bytes(4, "big") + wire)
    found: dict[str, str] = {}
    data = bytearray()
    try:
        writer.write(connection.data_to_send())
        async with asyncio.timeout(seconds):
            while chunk := await reader.read(65536):
                ended = _take(connection, chunk, found, data)
                writer.write(connection.data_to_send())
                if ended:
                    break
    except (TimeoutError, OSError):
        pass
    finally:
        writer.close()
    return Stream(found.get(":status", ""), found.get("grpc-status", ""), found.get("grpc-message", ""), bytes(data))


def _take(connection: h2.connection.H2Connection, chunk: bytes, found: dict[str, str], data: bytearray) -> bool:
    ended = False
    for event in connection.receive_data(chunk):
        if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
            found.update({str(key): str(value) for key, value in event.headers or ()})
        elif isinstance(event, h2.events.DataReceived):
            data += event.data or b""
            connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        ended = ended or isinstance(
            event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)
        )
    return ended


async def join(control: Host, name: str, token: str, key: object | None = None) -> tuple[int, dict[str, object]]:
    """One request to join."""
    made = key or make_key()
    body = {"token": token, "host": name, "csr": base64.b64encode(make_csr(made)).decode()}  # type: ignore[arg-type]  # as given
    return await http(control.address, "POST", "/weft/v1/join", None, msgspec.json.encode(body))


async def host_svid(control: Host, name: str, directory: Path) -> Path:
    """The SVID of a host that joins."""
    key = make_key()
    status, said = await join(control, name, await token(control, name), key)
    assert status == 200, said
    chain = tuple(base64.b64decode(each) for each in said["svid"]["chain"])  # type: ignore[index]  # the shape of JoinAnswer
    file = directory / f"{name}.pem"
    file.write_bytes(pem.private_key(key_der(key)) + pem.certificates(chain))
    return file
