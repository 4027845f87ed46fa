"""What lies outside the mesh, called from inside it on the running system, in each way of capture."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.support import system, verbs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.anyio, pytest.mark.needs("curl", "openssl")]

OUTSIDE: Final = system.ROOT / "tests" / "support" / "apps" / "outside.py"
SERVICE: Final = f"""
      command: [{sys.executable}, {system.ECHO}]
      ports: [{{name: http, port: 80, targetPort: 8080}}]
"""
MESH: Final = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: test}}
spec:
  outboundTraffic: {traffic}
  services:
    captured: {service}
      capture: transparent
      expose: {{port: 8080}}
    proxied: {service}
      capture: proxy
  external:
    bank: {{hostnames: [api.bank.example], ports: [{{port: 80, name: http, protocol: http}}], endpoints: ["127.0.0.1:{http}"]}}
    local:
      hostnames: [local.example]
      ports: [{{port: {http}, name: http, protocol: http}}]
      endpoints: ["localhost:{http}"]
    secure:
      hostnames: [secure.example]
      ports: [{{port: 80, name: http, protocol: http}}]
      endpoints: ["127.0.0.1:{tls}"]
      tls: originate
    other:
      hostnames: [other.example]
      ports: [{{port: 80, name: http, protocol: http}}]
      endpoints: ["127.0.0.1:{tls}"]
      tls: originate
    mail: {{hostnames: [mail.example], ports: [{{port: 25, protocol: tcp}}], endpoints: ["127.0.0.1:{raw}"]}}
"""
ROUTE: Final = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: out}
spec:
  parentRefs: [{group: "", kind: Service, name: proxied}]
  rules:
  - {matches: [{path: {value: /out}}], backendRefs: [{name: bank, port: 80}]}
  - {backendRefs: [{name: proxied, port: 80}]}
"""
THROUGH: Final = """
import os, socket, sys
proxy, _, port = os.environ["http_proxy"].removeprefix("http://").strip("/").partition(":")
with socket.create_connection((proxy, int(port)), timeout=20) as connection:
    connection.sendall(f"CONNECT {sys.argv[1]} HTTP/1.1\\r\\nHost: {sys.argv[1]}\\r\\n\\r\\n".encode())
    said = b""
    while b"ready" not in said and (more := connection.recv(4096)):
        said += more
    print(said.decode().strip())
"""
CAPTURED, PROXIED = "captured-v1-0", "proxied-v1-0"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def running(traffic: str, directory: Path) -> AsyncIterator[tuple[system.System, int, int]]:
    """A mesh, and outside of it a server that speaks HTTP and one that speaks first, at these ports.

    Another one speaks HTTPS with a certificate for ``secure.example`` that this machine trusts, as far as weft knows.
    """
    pem = directory / "secure.pem"
    await certificate("secure.example", pem)
    outside = await asyncio.create_subprocess_exec(
        sys.executable, str(OUTSIDE), str(pem), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert outside.stdin is not None
    assert outside.stdout is not None
    try:
        http, raw, tls = json.loads(await outside.stdout.readline())
        text = MESH.format(traffic=traffic, service=SERVICE, http=http, raw=raw, tls=tls)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(pem))
            async with system.running(text) as mesh:
                yield mesh, http, raw
    finally:
        outside.stdin.close()
        await outside.wait()


async def certificate(name: str, pem: Path) -> None:
    """A key and a certificate that signs itself, in one file."""
    made = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"),
        *("-subj", "/CN=test", "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(pem), "-out", str(pem)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await made.wait() == 0


async def answers(mesh: system.System, url: str, expected: str) -> bool:
    return await curl(mesh, CAPTURED, url) == expected


async def curl(mesh: system.System, workload: str, url: str) -> str:
    """Body and status of one request from a workload's place."""
    done = await verbs.weft(mesh, "exec", workload, "--", "curl", "-sS", "-m", "20", "-w", "%{http_code}", url)
    return done.out or done.err


async def test_external_services_are_reached_by_their_names(tmp_path: Path) -> None:
    async with running("registryOnly", tmp_path) as (mesh, http, _):
        for workload in (CAPTURED, PROXIED):
            assert await curl(mesh, workload, "http://api.bank.example/a?b") == "outside api.bank.example /a?b\n200"
            named = f"local.example:{http}"
            assert await curl(mesh, workload, f"http://{named}/") == f"outside {named} /\n200"
            # By its name in the mesh it is told the name by which it knows itself.
            assert await curl(mesh, workload, "http://bank/") == "outside api.bank.example /\n200"
            # The proxy speaks TLS, and only to who has the right name.
            assert await curl(mesh, workload, "http://secure.example/") == "outside secure.example /\n200"
            assert (await curl(mesh, workload, "http://other.example/")).endswith("503")
            refused = await curl(mesh, workload, "http://nobody.example/")
            assert 'nothing in the mesh is called "nobody.example"' in refused
            assert refused.endswith("502")
        # A route may lead out; the Host header stays the caller's.
        await mesh.apply(ROUTE)
        await mesh.until(lambda: answers(mesh, "http://proxied/out", "outside proxied /out\n200"), "the route holds")
        # The proxy of a captured namespace has no way out of its own.
        assert (await mesh.row(CAPTURED))["capture"] == "transparent"
        said = await verbs.inside(mesh, CAPTURED, verbs.HELLO, "mail.example", "25")
        assert said.out == "220 outside is ready\n", said


async def test_with_allow_any_everything_else_goes_where_it_was_going(tmp_path: Path) -> None:
    async with running("allowAny", tmp_path) as (mesh, http, raw):
        assert await curl(mesh, CAPTURED, "http://api.bank.example/") == "outside api.bank.example /\n200"
        # The names of loopback are the host's here: nobody in the mesh has them.
        captured = ["curl", "-sS", "-m", "20", "-H", f"Host: localhost:{http}", "http://192.0.2.1/any"]
        done = await verbs.weft(mesh, "exec", CAPTURED, "--", *captured)
        assert done.out == f"outside localhost:{http} /any\n", done
        proxied = ["curl", "-sS", "-m", "20", "--noproxy", "", f"http://localhost:{http}/any"]
        done = await verbs.weft(mesh, "exec", PROXIED, "--", *proxied)
        assert done.out == f"outside localhost:{http} /any\n", done
        assert (await verbs.inside(mesh, CAPTURED, verbs.HELLO, "mail.example", "25")).out == "220 outside is ready\n"
        # Bytes through a CONNECT at the proxy, to a port that nobody declared.
        done = await verbs.inside(mesh, PROXIED, THROUGH, f"localhost:{raw}")
        assert done.out.endswith("220 outside is ready\n"), done
