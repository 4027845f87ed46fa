"""E13: root, issuing CA and every SVID are replaced under load; no request fails, and what was signed before is refused after."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from anyio import to_thread

from tests.support.system import running
from tests.support.trust import csr, key, key_pem, pem
from weft.names import ALPN_HTTP

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from tests.support.system import System

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

FRONT = "sidecar/default/front-v1-0"
ROTATIONS = 2
SECONDS = 38


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def svid(system: System, private: ec.EllipticCurvePrivateKey) -> tuple[bytes, ...]:
    """What front's agent would get now."""
    asked = {"requests": [{"node": FRONT, "csr": base64.b64encode(csr(private)).decode()}]}
    (answer,) = (await system.ask("/weft/v1/svids", "POST", json.dumps(asked)))["svids"]
    return tuple(base64.b64decode(each) for each in answer["chain"])


async def listener(system: System) -> str:
    """The inbound socket of one proxy beside back."""
    for host in (await system.ask("/weft/v1/hosts"))["items"]:
        for workload in host["workloads"]:
            if workload["name"].startswith("back-v1"):
                path: str = workload["ports"][0]["listen"]["path"]
                return path
    raise AssertionError("no back is reported")


def admitted(path: str, chain: tuple[bytes, ...], private: ec.EllipticCurvePrivateKey) -> bool:
    """Whether the proxy speaks HTTP/2 with whoever shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([ALPN_HTTP])
    with tempfile.TemporaryDirectory() as directory:
        certificate, secret = Path(directory) / "c", Path(directory) / "k"
        certificate.write_bytes(pem(*chain))
        descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key_pem(private))
        context.load_cert_chain(certificate, secret)
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(10)
        plain.connect(path)
        try:
            with context.wrap_socket(plain) as tls:
                tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
                # in TLS 1.3 a server judges the certificate after our side is done
                return tls.recv(9)[3:4] == b"\4"
        except (ssl.SSLError, ConnectionResetError):
            return False


async def rotated(system: System) -> None:
    new = (await system.ask("/weft/v1/authorities/rotate", "POST", "{}"))["new"]

    async def ended() -> bool:
        found = await system.ask("/weft/v1/authorities")
        states: dict[str, Any] = {each["id"]: each["state"] for each in found["authorities"]}
        return bool(states[new] == "active" and list(states.values()).count("revoked") == len(states) - 1)

    await system.until(ended, "the rotation has ended")


async def test_a_root_is_rotated_twice_under_load_and_the_old_is_refused_after() -> None:
    async with running() as system:
        await system.until_answered("/call/back/")
        private, path = key(), await listener(system)
        old = await svid(system, private)
        assert await to_thread.run_sync(admitted, path, old, private)

        async def rotate() -> None:
            for _ in range(ROTATIONS):
                await rotated(system)

        load = await system.during("/call/back/", SECONDS, rotate)
        restarts = {(row["kind"], row["name"]): row["restarts"] for row in await system.rows()}
        assert load.failed == 0, (load.failures[:3], load.bodies, restarts)
        new = await svid(system, private)
        assert await to_thread.run_sync(admitted, path, new, private)
        assert not await to_thread.run_sync(admitted, path, old, private)
        events = (await system.ask("/weft/v1/authorities"))["events"]
        assert [each["what"] for each in events].count("revoked") == ROTATIONS
        assert not [each for each in events if each["why"] not in ("", "rotation")]
