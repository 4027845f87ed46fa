"""What mutual TLS and policy cost between two proxies: weft's shapes, Istio-shaped proxies and plain mutual TLS in one run.

One ``wrk`` asks nginx (1 kB) through two proxies, one shape after the other and all of them several times. weft's proxies
are those of a running agent and control plane, with their SVIDs, ``ports`` capture, STRICT and a policy for each service; what
they are compared with is written by hand (``benchmarks.istio_shaped``) and runs on the same Envoy. Between any two proxies
there is a unix socket, as weft has on one machine, so that only the shapes differ; nginx listens on loopback for all.

- ``istio``, ``istio_rule``: mutual TLS around HTTP/1.1, a policy about identity, or about method and path, too;
- ``raw``: policy about identity: HTTP at the caller, mutual TLS and network RBAC at the callee;
- ``http``: policy about method and path: mutual TLS around HTTP/2, RBAC at the callee;
- ``plain_tcp``: opaque bytes, one mutual TLS connection for each; ``tunnel``: opaque bytes in pooled tunnels;
- ``plain_new``, ``tunnel_new``: the same with a new connection per request.

``<shape>_cpu_us`` is the CPU time of both proxies (``/proc/<pid>/task/*/schedstat``) per request with eight connections,
``<shape>_added_ms_p50`` the latency at one connection less nginx's own: medians, ratios too.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from benchmarks import istio_shaped, rig
from tests.support.system import System, running

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROUNDS: Final = 5
SECONDS: Final = 2
BUSY: Final = 8
_UNITS: Final = {"us": 1e-3, "ms": 1.0, "s": 1e3}
RATIOS: Final = {
    "raw_to_istio": ("raw", "istio"),
    "http_to_istio": ("http", "istio_rule"),
    "tunnel_to_plain_tcp": ("tunnel", "plain_tcp"),
    "tunnel_new_to_plain_new": ("tunnel_new", "plain_new"),
}

MESH: Final = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: bench}}
spec:
  services:
    front: {{command: [sleep, "100000"], capture: ports, needs: [raw, http, opaque]}}
    raw: {{port: 80, capture: proxy, command: [{nginx}]}}
    http: {{port: 80, capture: proxy, command: [{nginx}]}}
    opaque: {{port: 80, protocol: tcp, capture: proxy, command: [{nginx}]}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: strict}}
spec: {{mtls: {{mode: STRICT}}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: identity}}
spec:
  rules: [{{from: [{{source: {{principals: [local/ns/default/sa/front]}}}}]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: rule}}
spec:
  selector: {{matchLabels: {{app: http}}}}
  rules:
  - from: [{{source: {{principals: [local/ns/default/sa/front]}}}}]
    to: [{{operation: {{methods: [GET], paths: ["/*"]}}}}]
"""


class Way(msgspec.Struct, frozen=True):
    """Where to ask, and the processes of the two proxies; ``new``: a connection per request."""

    port: int
    proxies: tuple[int, ...] = ()
    new: bool = False


class Run(msgspec.Struct, frozen=True):
    p50: float
    cpu: float


def cpu_us(pids: tuple[int, ...]) -> float:
    """Microseconds that all threads of these processes have run."""
    threads = [thread for pid in pids for thread in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e3


async def wrk(way: Way, connections: int) -> Run:
    """One run. Raises when a request was not answered 200."""
    close = ["-H", "Connection: close"] if way.new else []
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", *close, f"http://127.0.0.1:{way.port}/"]
    before = cpu_us(way.proxies)
    text = (await anyio.run_process(command)).stdout.decode()
    used = cpu_us(way.proxies) - before
    if "Non-2xx" in text or (found := re.search(r"50%\s+([\d.]+)(\w+)", text)) is None:
        raise RuntimeError(text)
    [requests] = re.findall(r"(\d+) requests in", text)
    return Run(float(found[1]) * _UNITS[found[2]], used / int(requests))


def nginx(directory: Path) -> Path:
    """A program that serves on ``$PORT``: one worker, no log, connections that never end, 1 kB for every request."""
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = " ".join(f"{name}_temp_path {directory}/{name};" for name in names)
    (directory / "nginx.conf").write_text(
        f"""daemon off; worker_processes 1; pid {directory}/nginx-PORT.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; {places}
  server {{ listen 127.0.0.1:PORT backlog=4096; location / {{ return 200 "{"x" * 1024}"; }} }}
}}
"""
    )
    program = directory / "serve"
    made = f"{directory}/nginx-$PORT.conf"
    program.write_text(
        f"#!/bin/sh\nsed s/PORT/$PORT/ {directory}/nginx.conf > {made}\nexec nginx -e /dev/null -c {made}\n"
    )
    program.chmod(0o755)
    return program


def secrets(names: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """For each of the hand-written proxies its certificate, and the root of all."""
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    root_key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, istio_shaped.DOMAIN)])
    root = (
        x509.CertificateBuilder(issuer, issuer, root_key.public_key(), 1, now - day, now + day)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    made = {}
    for name, identity in names.items():
        key = ec.generate_private_key(ec.SECP256R1())
        uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        serial = x509.random_serial_number()
        leaf = (
            x509.CertificateBuilder(issuer, x509.Name([]), key.public_key(), serial, now - day, now + day)
            .add_extension(uri, critical=True)
            .add_extension(usages, critical=False)
            .sign(root_key, hashes.SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        pair = {
            "certificate_chain": {"inline_string": leaf.public_bytes(Encoding.PEM).decode()},
            "private_key": {"inline_string": private},
        }
        trusted = {"trusted_ca": {"inline_string": root.public_bytes(Encoding.PEM).decode()}}
        made[name] = [
            {"name": "default", "tls_certificate": pair},
            {"name": "ROOTCA", "validation_context": trusted},
        ]
    return made


async def shaped_by_hand(directory: Path, stack: AsyncExitStack, application: int) -> dict[str, Way]:
    """Istio-shaped proxies for HTTP, for HTTP with a rule about requests, and for opaque TCP."""
    held = secrets({"caller": istio_shaped.CALLER, "callee": istio_shaped.CALLEE})
    app = {"socket_address": {"address": "127.0.0.1", "port_value": application}}
    made: dict[str, Way] = {}

    def http(listen: Any, to: Any, given: Any, admin: str) -> str:  # noqa: ANN401 - JSON
        return istio_shaped.http_callee(listen, to, given, admin, requests=False)

    def rule(listen: Any, to: Any, given: Any, admin: str) -> str:  # noqa: ANN401 - JSON
        return istio_shaped.http_callee(listen, to, given, admin, requests=True)

    pairs: dict[str, tuple[Callable[..., str], Callable[..., str]]] = {
        "istio": (istio_shaped.http_caller, http),
        "istio_rule": (istio_shaped.http_caller, rule),
        "plain_tcp": (istio_shaped.tcp_caller, istio_shaped.tcp_callee),
    }
    for name, (caller, callee) in pairs.items():
        between = {"pipe": {"path": str(directory / f"{name}.sock")}}
        port = rig.free_port()
        listen = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        back = callee(between, app, held["callee"], str(directory / f"{name}-in-admin"))
        front = caller(listen, between, held["caller"], str(directory / f"{name}-out-admin"))
        pids = [
            await stack.enter_async_context(rig.envoy(text, directory, f"{name}-{side}"))
            for side, text in (("in", back), ("out", front))
        ]
        made[name] = Way(port, tuple(pids))
    return made


async def shaped_by_weft(system: System) -> dict[str, Way]:
    """The bound addresses of ``front``, and the pids of its proxy and of the callee's."""
    hosts = (await system.ask("/weft/v1/hosts"))["items"]
    found = [each for host in hosts for each in host["workloads"] if each["name"].startswith("front")]
    if not found:
        raise AssertionError("the caller has not been reported yet")
    caller = (await row(system, "front-v1-0"))["pid"]
    made = {}
    for bound in found[0]["bound"]:
        callee = (await row(system, f"{bound['service']}-v1-0"))["pid"]
        made[bound["service"]] = Way(bound["listen"]["port"], (caller, callee))
    return {"raw": made["raw"], "http": made["http"], "tunnel": made["opaque"]}


async def row(system: System, name: str) -> dict[str, Any]:
    found = [each for each in await system.rows() if (each["name"], each["kind"]) == (name, "proxy")]
    if not found:
        raise AssertionError(f"{name} has no proxy yet")
    return found[0]


async def measure(directory: Path) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        port = rig.free_port()
        served = nginx(directory)
        await stack.enter_async_context(rig.process([str(served)], env={**os.environ, "PORT": str(port)}))
        mesh = MESH.format(nginx=json.dumps(str(served)))
        system = await stack.enter_async_context(running(mesh, serving=False))
        ways = {"direct": Way(port), **await shaped_by_hand(directory, stack, port)}

        async def bound() -> bool:
            apps = [row for row in await system.rows() if row["kind"] == "app"]
            ways.update(await shaped_by_weft(system))
            return all(row["state"] == "serving" for row in apps)

        await system.until(bound, "all proxies of the mesh run")
        ways["plain_new"] = msgspec.structs.replace(ways["plain_tcp"], new=True)
        ways["tunnel_new"] = msgspec.structs.replace(ways["tunnel"], new=True)
        for name, way in ways.items():
            await system.until(lambda way=way: answered(way), f"200 by {name}")  # type: ignore[misc]
        alone: dict[str, list[Run]] = {name: [] for name in ways}
        busy: dict[str, list[Run]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                alone[name].append(await wrk(way, 1))
                busy[name].append(await wrk(way, BUSY))
    return figures_of(alone, busy)


async def answered(way: Way) -> bool:
    caller = await rig.connected(("127.0.0.1", way.port))
    try:
        return caller.call("raw")[1] == 200
    except ConnectionError:
        return False
    finally:
        caller.connection.close()


def figures_of(alone: Mapping[str, list[Run]], busy: Mapping[str, list[Run]]) -> dict[str, float]:
    p50 = {name: statistics.median(run.p50 for run in runs) for name, runs in alone.items()}
    figures: dict[str, float] = {}
    for name in p50.keys() - {"direct"}:
        figures[f"{name}_cpu_us"] = statistics.median(run.cpu for run in busy[name])
        figures[f"{name}_added_ms_p50"] = p50[name] - p50["direct"]
    for name, (ours, theirs) in RATIOS.items():
        pairs = zip(busy[ours], busy[theirs], strict=True)
        figures[f"{name}_cpu_ratio"] = statistics.median(one.cpu / other.cpu for one, other in pairs)
        figures[f"{name}_added_ratio"] = figures[f"{ours}_added_ms_p50"] / figures[f"{theirs}_added_ms_p50"]
    return figures


def main() -> None:
    missing = [name for name in ("wrk", "nginx") if shutil.which(name) is None]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}; run tools/install-test-tools")
    directory = Path(tempfile.mkdtemp(prefix="weft-"))
    try:
        print(json.dumps(anyio.run(measure, directory)))  # noqa: T201 - the figures
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
