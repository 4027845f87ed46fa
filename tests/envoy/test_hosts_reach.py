"""Who reaches whom: every way of capture calls every other, by HTTP, gRPC and TCP, on the same host and on another, under every
kind of policy. One system of two hosts, and one table, which docs/concepts/shapes.md shows.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
import pytest

from tests.support import hosts, system
from tests.support.clients import APPS, IDLE
from tests.support.hosts import Host, Rig, rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.anyio,
    pytest.mark.needs("ip", "nsenter"),
    pytest.mark.skipif(not hosts.can(), reason="making network namespaces needs root"),
]

HOSTS: Final = hosts.NAMES[:2]
CALLERS: Final = ("transparent", "proxy", "ports", "none")
FOREIGN: Final = "foreign"
"""What something else runs on the host: a service with ``attest`` and no command."""
CALLEES: Final = (*CALLERS, FOREIGN)
NUMBERS: Final = {"http": 80, "grpc": 9090, "tcp": 7000}
PROTOCOLS: Final = tuple(NUMBERS)
ANSWERED, REFUSED, NO_WAY = "answered", "refused", "no way"
STRICT: Final = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: default}
spec: {mtls: {mode: STRICT}}
"""
POLICY: Final = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: by-name, namespace: default}}
spec:
  action: {action}
  rules: [{{from: [{{source: {{principals: [{principals}]}}}}]}}]
"""
CALL: Final = """
import concurrent.futures, json, os, socket, sys, urllib.error, urllib.request
import grpc

def where(name, port):
    prefix = f"{name.upper().replace('-', '_')}_{port}_"
    if prefix + "HOST" in os.environ:
        return os.environ[prefix + "HOST"], int(os.environ[prefix + "PORT"])
    return name, port

def http(name, port):
    host, number = where(name, port)
    try:
        return urllib.request.urlopen(f"http://{host}:{number}/", timeout=10).read().decode()
    except urllib.error.HTTPError as error:
        return "refused" if error.code == 403 else f"{error.code} {error.read().decode()}"

def rpc(name, port):
    host, number = where(name, port)
    with grpc.insecure_channel(f"{host}:{number}") as channel:
        try:
            return channel.unary_unary("/test.Triple/Who")(b"", timeout=10).decode()
        except grpc.RpcError as error:
            # grpcio makes a CONNECT of a proxy's address, and an error of its own of the answer to that
            refused = error.code() is grpc.StatusCode.PERMISSION_DENIED or "response code 403" in error.details()
            return "refused" if refused else repr(error)

def tcp(name, port):
    with socket.create_connection(where(name, port), timeout=10) as connection:
        try:
            connection.sendall(b"who\\n")
            return connection.recv(100).decode().strip() or "refused"
        except ConnectionError:
            return "refused"

def one(call):
    name, protocol, port = call
    try:
        if protocol != "http" or "http_proxy" not in os.environ:
            socket.getaddrinfo(where(name, port)[0], None)
    except socket.gaierror:
        if "http_proxy" not in os.environ:
            return "no way"
    try:
        said = {"http": http, "grpc": rpc, "tcp": tcp}[protocol](name, port)
    except Exception as error:
        return repr(error)
    return "answered" if said == name else said

calls = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(json.dumps(list(pool.map(one, calls))))
"""
"""Makes calls of (service, protocol, port), as a program of its capture would, and prints what each came to."""

Key = tuple[str, str, str, str]
"""Caller's capture, callee's capture, protocol, place."""


def callee(capture: str, host: str) -> str:
    return f"{capture}-{host}"


def caller(capture: str, host: str) -> str:
    return f"by-{capture}-{host}"


def mesh() -> str:
    needed = ", ".join(callee(capture, host) for capture in CALLEES for host in HOSTS)
    ports = (
        "[{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 9090, protocol: grpc}, "
        "{name: tcp, port: 7000, protocol: tcp}]"
    )
    services = []
    for host in HOSTS:
        for capture in CALLERS:
            run = f"command: [{sys.executable}, {APPS / 'triple.py'}], ports: {ports}"
            services.append(f"{callee(capture, host)}: {{{run}, capture: {capture}, hosts: [{host}]}}")
            needs = "" if capture == "none" else f"needs: [{needed}], "
            services.append(f"{caller(capture, host)}: {{command: {IDLE}, {needs}capture: {capture}, hosts: [{host}]}}")
        # It lives in this host's network, and nothing else there listens on these ports.
        services.append(f"{callee(FOREIGN, host)}: {{ports: {ports}, attest: {{uid: 0}}, hosts: [{host}]}}")
    lines = "".join(f"    {each}\n" for each in services)
    return f"apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: test}}\nspec:\n  services:\n{lines}"


def expected(policy: str) -> dict[Key, str]:
    """What this mesh promises."""
    answer = REFUSED if policy == "denied" else ANSWERED
    return {
        (by, to, protocol, place): NO_WAY if by == "none" else answer
        for by in CALLERS
        for to in CALLEES
        for protocol in PROTOCOLS
        for place in ("same", "other")
    }


@asynccontextmanager
async def foreign(host: Host) -> AsyncIterator[None]:
    """What something else than weft runs on a host."""
    environ = {**host.environ, "PORT_HTTP": "8080", "PORT_GRPC": "9090", "PORT_TCP": "7000"}
    process = await asyncio.create_subprocess_exec(
        *host.inside(sys.executable, str(APPS / "triple.py")),
        env=environ | {"WEFT_SERVICE": callee(FOREIGN, host.name)},
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def tried(made: Rig) -> dict[str, dict[Key, str]]:
    """What every call comes to now, by the host of its caller."""
    calls = [
        (callee(to, host), protocol, NUMBERS[protocol]) for host in HOSTS for to in CALLEES for protocol in PROTOCOLS
    ]
    found: dict[str, dict[Key, str]] = {name: {} for name in HOSTS}

    async def call(host: Host, by: str) -> None:
        words = ("exec", f"{caller(by, host.name)}-v1-0", "--", sys.executable, "-c", CALL, json.dumps(calls))
        code, out, err = await host.weft(*words)
        assert code == 0, (by, out, err)
        for (name, protocol, _), said in zip(calls, json.loads(out), strict=True):
            to, _, there = name.rpartition("-")
            found[host.name][by, to, protocol, "same" if there == host.name else "other"] = said

    async with anyio.create_task_group() as tasks:
        for host in made.hosts:
            for by in CALLERS:
                tasks.start_soon(call, host, by)
    return found


async def settled(made: Rig, policy: str) -> None:
    """Every call comes to what is promised, from both hosts."""
    wanted = {name: expected(policy) for name in HOSTS}
    found: dict[str, dict[Key, str]] = {}
    with anyio.move_on_after(60):
        # Connections that a policy ends are cut some seconds after it, and Envoys follow one after the other.
        while found != wanted:
            found = await tried(made)
    wrong = {
        (policy, host, *key): said
        for host, each in found.items()
        for key, said in each.items()
        if said != wanted[host][key]
    }
    assert not wrong, wrong


def principals() -> str:
    return ", ".join(f"local/ns/default/sa/{caller(by, host)}" for by in CALLERS for host in HOSTS)


def table() -> str:
    """The table for people, made of what is tried."""
    rows = [("caller \\ callee", *(f"`{to}`" if to != FOREIGN else "run by something else" for to in CALLEES))]
    rows.append(("---",) * len(rows[0]))
    for by in CALLERS:
        cells = []
        for to in CALLEES:
            said = {
                policy: {
                    expected(policy)[by, to, protocol, place] for protocol in PROTOCOLS for place in ("same", "other")
                }
                for policy in ("permissive", "strict", "allowed", "denied")
            }
            assert all(len(each) == 1 for each in said.values())
            cells.append("no" if said["permissive"] == {NO_WAY} else "yes")
            assert (said["permissive"] == {NO_WAY}) == (said["denied"] == {NO_WAY})
        rows.append((f"`{by}`", *cells))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def test_the_table_that_people_read_is_the_one_that_is_tried() -> None:
    assert table() in (system.ROOT / "docs" / "concepts" / "shapes.md").read_text()


@pytest.mark.timeout(300)
async def test_every_workload_reaches_every_other_whatever_its_capture_its_host_and_the_protocol() -> None:
    async with rig(mesh()) as made, foreign(made["anna"]), foreign(made["bert"]):
        await made.until_everything_serves()
        await settled(made, "permissive")
        assert (await made.control.ask("/weft/v1/problems"))["problems"] == []
        await made.control.apply(STRICT)
        await settled(made, "strict")
        await made.control.apply(POLICY.format(action="ALLOW", principals=principals()))
        await settled(made, "allowed")
        await made.control.apply(POLICY.format(action="DENY", principals=principals()))
        await settled(made, "denied")
        await made.control.ask("/apis/security.istio.io/v1/namespaces/default/authorizationpolicies/by-name", "DELETE")
        await settled(made, "strict")
