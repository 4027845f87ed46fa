"""What mutual TLS and policy cost between two proxies: weft's shapes, Istio-shaped proxies and plain mutual TLS in one run.

Somebody asks nginx (1 kB) through two proxies, one shape after the other and all of them many times. weft's proxies are
those of a running agent and control plane, with their SVIDs, ``ports`` capture, STRICT and a policy for each service; what
they are compared with is written by hand (``benchmarks.istio_shaped``) and runs on the same Envoy. Between any two proxies
there is a unix socket, as weft has on one machine, so that only the shapes differ; nginx listens on loopback for all.

- ``istio``, ``istio_rule``: mutual TLS around HTTP/1.1, a policy about identity, or about method and path, too;
- ``raw``: policy about identity: HTTP at the caller, mutual TLS and network RBAC at the callee;
- ``http``: policy about method and path: mutual TLS around HTTP/2, RBAC at the callee;
- ``plain_tcp``: opaque bytes, one mutual TLS connection for each; ``tunnel``: opaque bytes in pooled tunnels;
- ``plain_new``, ``tunnel_new``: the same with a new connection per request.

``<shape>_cpu_us`` is the CPU time of both proxies (``/proc/<pid>/task/*/schedstat``) per request with eight connections of
``wrk``, ``_cpu_us_32`` with 32: the median of its runs, ratios too.

``<shape>_added_ms`` is the latency at one connection less nginx's own, and for a new connection less that of a new one to nginx.
It is asked in many short bursts, in turns, with all who take part on one core: where the kernel puts two proxies changes what
a wake-up costs by more than any shape does, and stays for as long as a process lives. Of all requests' latencies the tenth
percentile counts, those that nobody else's work got in the way of. ``<shape>_one_cpu_us`` is both proxies' CPU time for one of
these requests.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import socket
import statistics
import sys
import tempfile
import time
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
    from collections.abc import Callable, Iterable, Iterator, Mapping

ROUNDS: Final = 6
"""Runs of ``wrk`` for each way and number of connections, of one second."""
CONNECTIONS: Final = {"": 8, "_32": 32}
"""By the ends of their figures' names."""
BURSTS: Final = 60
BURST: Final = 40
"""Requests; a quarter as many where each has a connection of its own."""
WARM: Final = 5
UNDISTURBED: Final = 0.1
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
    """Where to ask, and the processes of the two proxies; ``new``: a connection per request. ``serving``: nginx's process."""

    port: int
    serving: int
    proxies: tuple[int, ...] = ()
    new: bool = False


class Burst(msgspec.Struct, frozen=True):
    """Milliseconds of each request, and microseconds of CPU for one."""

    latencies: tuple[float, ...]
    cpu: float


def threads(pid: int) -> Iterator[Path]:
    """``/proc/<pid>/task/<thread>`` of a process and of those that it started."""
    for each in Path(f"/proc/{pid}/task").iterdir():
        yield each
        for child in (each / "children").read_text().split():
            yield from threads(int(child))


def cpu_us(pids: tuple[int, ...]) -> float:
    """Microseconds that all threads of these processes have run."""
    return sum(int((each / "schedstat").read_text().split()[0]) for pid in pids for each in threads(pid)) / 1e3


def placed(ways: Iterable[Way], cores: set[int]) -> None:
    """Everybody who takes part on these cores, this process too."""
    os.sched_setaffinity(0, cores)
    for pid in {pid for way in ways for pid in (way.serving, *way.proxies)}:
        for each in threads(pid):
            os.sched_setaffinity(int(each.name), cores)


def burst(way: Way) -> Burst:
    """Some requests one after the other. Raises when one was not answered 200."""
    if not way.new:
        caller = connected(way)
        for _ in range(WARM):
            asked(caller)
        before = cpu_us(way.proxies)
        taken = [asked(caller) for _ in range(BURST)]
        used = cpu_us(way.proxies) - before
        caller.connection.close()
    else:
        before = cpu_us(way.proxies)
        taken = [once(way) for _ in range(BURST // 4)]
        used = cpu_us(way.proxies) - before
    return Burst(tuple(1e3 * seconds for seconds in taken), used / len(taken))


def once(way: Way) -> float:
    """Seconds for a connection and one request on it."""
    begun = time.perf_counter()
    caller = connected(way)
    asked(caller)
    seconds = time.perf_counter() - begun
    caller.connection.close()
    return seconds


def connected(way: Way) -> rig.Caller:
    return rig.Caller(socket.create_connection(("127.0.0.1", way.port), timeout=rig.PATIENCE))


def asked(caller: rig.Caller) -> float:
    seconds, status = caller.call("raw")
    if status != 200:
        raise RuntimeError(status)
    return seconds


async def wrk(way: Way, connections: int) -> float:
    """CPU of the proxies per request, in microseconds. Raises when a request was not answered 200."""
    close = ["-H", "Connection: close"] if way.new else []
    command = ["wrk", "-t1", f"-c{connections}", "-d1s", *close, f"http://127.0.0.1:{way.port}/"]
    before = cpu_us(way.proxies)
    text = (await anyio.run_process(command)).stdout.decode()
    used = cpu_us(way.proxies) - before
    if "Non-2xx" in text:
        raise RuntimeError(text)
    [requests] = re.findall(r"(\d+) requests in", text)
    return used / int(requests)


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


async def shaped_by_hand(directory: Path, stack: AsyncExitStack, application: Way) -> dict[str, Way]:
    """Istio-shaped proxies for HTTP, for HTTP with a rule about requests, and for opaque TCP."""
    held = secrets({"caller": istio_shaped.CALLER, "callee": istio_shaped.CALLEE})
    app = {"socket_address": {"address": "127.0.0.1", "port_value": application.port}}
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
        made[name] = Way(port, application.serving, tuple(pids))
    return made


async def shaped_by_weft(system: System) -> dict[str, Way]:
    """The bound addresses of ``front``, and the pids of its proxy, of the callee's and of the application."""
    hosts = (await system.ask("/weft/v1/hosts"))["items"]
    found = [each for host in hosts for each in host["workloads"] if each["name"].startswith("front")]
    if not found:
        raise AssertionError("the caller has not been reported yet")
    caller = (await row(system, "front-v1-0"))["pid"]
    made = {}
    for bound in found[0]["bound"]:
        callee, serving = [(await row(system, f"{bound['service']}-v1-0", kind))["pid"] for kind in ("proxy", "app")]
        made[bound["service"]] = Way(bound["listen"]["port"], serving, (caller, callee))
    return {"raw": made["raw"], "http": made["http"], "tunnel": made["opaque"]}


async def row(system: System, name: str, kind: str = "proxy") -> dict[str, Any]:
    found = [each for each in await system.rows() if (each["name"], each["kind"]) == (name, kind)]
    if not found:
        raise AssertionError(f"{name} has no {kind} yet")
    return found[0]


async def measure(directory: Path) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        port = rig.free_port()
        served = nginx(directory)
        pid = await stack.enter_async_context(rig.process([str(served)], env={**os.environ, "PORT": str(port)}))
        mesh = MESH.format(nginx=json.dumps(str(served)))
        system = await stack.enter_async_context(running(mesh, serving=False))
        direct = Way(port, pid)
        ways = {"direct": direct, **await shaped_by_hand(directory, stack, direct)}

        async def bound() -> bool:
            apps = [row for row in await system.rows() if row["kind"] == "app"]
            ways.update(await shaped_by_weft(system))
            return all(row["state"] == "serving" for row in apps)

        await system.until(bound, "all proxies of the mesh run")
        for name, same in (("direct", "direct"), ("plain", "plain_tcp"), ("tunnel", "tunnel")):
            ways[f"{name}_new"] = msgspec.structs.replace(ways[same], new=True)
        for name, way in ways.items():
            await system.until(lambda way=way: answered(way), f"200 by {name}")  # type: ignore[misc]
        alone: dict[str, list[Burst]] = {name: [] for name in ways}
        cores = os.sched_getaffinity(0)
        placed(ways.values(), {max(cores)})
        for _ in range(BURSTS):
            for name, way in ways.items():
                alone[name].append(burst(way))
        placed(ways.values(), cores)
        through = {name: way for name, way in ways.items() if way.proxies}
        busy: dict[str, dict[str, list[float]]] = {}
        for end, connections in CONNECTIONS.items():
            busy[end] = {name: [] for name in through}
            for _ in range(ROUNDS):
                for name, way in through.items():
                    busy[end][name].append(await wrk(way, connections))
    return figures_of(alone, busy)


async def answered(way: Way) -> bool:
    caller = await rig.connected(("127.0.0.1", way.port))
    try:
        return caller.call("raw")[1] == 200
    except ConnectionError:
        return False
    finally:
        caller.connection.close()


def figures_of(alone: Mapping[str, list[Burst]], busy: Mapping[str, Mapping[str, list[float]]]) -> dict[str, float]:
    undisturbed = {name: lowest([each for run in runs for each in run.latencies]) for name, runs in alone.items()}
    figures: dict[str, float] = {}
    for name in alone.keys() - {"direct", "direct_new"}:
        figures[f"{name}_one_cpu_us"] = statistics.median(run.cpu for run in alone[name])
        figures[f"{name}_added_ms"] = undisturbed[name] - undisturbed["direct_new" if "new" in name else "direct"]
    for name, (ours, theirs) in RATIOS.items():
        figures[f"{name}_added_ratio"] = figures[f"{ours}_added_ms"] / figures[f"{theirs}_added_ms"]
    for end, runs in busy.items():
        figures |= {f"{name}_cpu_us{end}": statistics.median(each) for name, each in runs.items()}
        for name, (ours, theirs) in RATIOS.items():
            pairs = zip(runs[ours], runs[theirs], strict=True)
            figures[f"{name}_cpu_ratio{end}"] = statistics.median(one / other for one, other in pairs)
    return figures


def lowest(values: list[float]) -> float:
    return sorted(values)[int(len(values) * UNDISTURBED)]


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
