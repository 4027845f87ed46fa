"""An attacker has a shell inside an application's namespace: what it can read, reach and send away. On the running system.

``robber`` runs as a user of its own (``user:`` in its Mesh), ``pay`` and ``front`` as the agent's. The shell runs as robber's
user in robber's namespace; then once more as the agent's own, because what that does *not* protect must be said as exactly.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.apps import shell
from tests.support.figures import figure
from tests.support.meshes import echo, front, mesh, service
from tests.support.system import System, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.anyio,
    pytest.mark.needs("nsenter", "setpriv"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root runs applications as other users"),
]
NOBODY: Final = 65534
SHELL: Final = Path(shell.__file__).read_text()
PYTHON: Final = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
"""One that everybody may run."""
ROBBER: Final = service(
    "robber", 'command: [/usr/bin/sleep, "100000"]', "capture: transparent", "directory: /", f'user: "{NOBODY}"'
)
POLICIES: Final = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: pay}
spec:
  selector: {matchLabels: {app: pay}}
  rules: [{from: [{source: {principals: [local/ns/default/sa/front]}}]}]
"""
MESH: Final = mesh(front(), echo("pay"), ROBBER) + POLICIES


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def system() -> AsyncIterator[System]:
    async with running(MESH) as made:
        yield made


def addresses() -> list[str]:
    """This machine's own, of both families; whatever is sent to the outside would be sent through them."""
    found = {"127.0.0.1", "::1"}
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((far, 9))
                found.add(probe.getsockname()[0])
            except OSError:
                continue
    return sorted(found)


class Sink:
    """Listens on every address of this machine, for TCP and for UDP, and counts what comes."""

    def __init__(self) -> None:
        self.tcp = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.udp.bind(("::", 0))
        for each in (self.tcp, self.udp):
            each.setblocking(False)

    def received(self) -> list[str]:
        found = []
        for name, take in (("tcp", self.tcp.accept), ("udp", lambda: self.udp.recv(1000))):
            try:
                take()
                found.append(name)
            except BlockingIOError:
                continue
        return found


@contextmanager
def sink() -> Iterator[Sink]:
    made = Sink()
    try:
        yield made
    finally:
        made.tcp.close()
        made.udp.close()


async def shelled(pid: int, user: int, work: dict[str, Any]) -> dict[str, Any]:
    """The outcomes of a shell in the network of process ``pid``, as a user without any capability left."""
    become = [
        "setpriv",
        f"--reuid={user}",
        f"--regid={user}",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ]
    process = await asyncio.create_subprocess_exec(
        *(
            "nsenter",
            f"--net=/proc/{pid}/ns/net",
            *(become if user else ()),
            PYTHON,
            "-c",
            SHELL,
        ),
        json.dumps(work),
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 90)
    found: dict[str, Any] = json.loads(out)
    return found


async def work(system: System, made: Sink) -> dict[str, Any]:
    """Everything that it could want: all of our sockets and files, all processes, all addresses."""
    rows = await system.rows()
    ours = [path for root in (system.runtime, system.state) for path in root.rglob("*")]
    return {
        "sinks": [[each, made.tcp.getsockname()[1], made.udp.getsockname()[1]] for each in addresses()],
        "sockets": sorted(str(path) for path in ours if path.is_socket()),
        "files": sorted(str(path) for path in ours if path.is_file()),
        "pids": [row["pid"] for row in rows if row["pid"] and row["name"] != "robber-v1-0"],
        "calls": [["pay", 80], ["front", 80]],
    }


async def test_a_shell_as_an_application_s_own_user_gets_nothing_and_sends_nothing_away(system: System) -> None:
    pid = (await system.row("robber-v1-0"))["pid"]
    with sink() as made:
        wanted = await work(system, made)
        found = await shelled(pid, NOBODY, wanted)
        received = made.received()
    figure(
        "E11",
        f"another uid: {len(found['sockets'])} sockets, {len(found['files'])} files, {len(found['processes'])} of /proc",
    )
    assert found["uid"] == NOBODY
    assert found["interfaces"] == ["lo"]
    assert received == []
    workload_api = {path: got for path, got in found["sockets"].items() if "workload" in path}
    others = {path: got for path, got in found["sockets"].items() if path not in workload_api}
    assert len(others) >= 8
    assert set(others.values()) == {"EACCES"}, others
    assert len(found["files"]) >= 10
    assert set(found["files"].values()) == {"EACCES"}, found["files"]
    assert set(found["processes"].values()) <= {"EACCES", "EPERM", "ENOENT", "EIO"}, found["processes"]
    assert found["calls"]["pay"] != "HTTP/1.1 200 OK", found["calls"]
    assert found["calls"]["front"] == "HTTP/1.1 200 OK", found["calls"]


async def test_what_leaves_the_namespace_of_an_application_leaves_by_its_proxy_or_not_at_all(system: System) -> None:
    """Direct addresses, UDP, raw sockets, IPv6 and names: nothing arrives anywhere, with all rights of the namespace, too."""
    pid = (await system.row("robber-v1-0"))["pid"]
    for user in (NOBODY, 0):
        with sink() as made:
            wanted = {**await work(system, made), "sockets": [], "files": [], "pids": [], "calls": []}
            found = await shelled(pid, user, wanted)
            received = made.received()
        figure("E11", f"exfiltration as uid {user}: {received or 'nothing arrived'}; {found['outside']}")
        assert received == []
        names = [got for way, got in found["outside"].items() if way.startswith("dns")]
        assert all("addresses []" in got or "addresses ['24" in got for got in names if got.startswith("code")), names


async def test_the_agent_s_own_user_is_not_kept_out_and_the_threat_model_says_so(system: System) -> None:
    """Whoever is the agent's user may do what the agent may: no promise is made about that on a laptop."""
    pid = (await system.row("robber-v1-0"))["pid"]
    with sink() as made:
        wanted = await work(system, made)
        found = await shelled(pid, 0, {**wanted, "sinks": []})
    assert {got for path, got in found["sockets"].items() if path.endswith(("control.sock", "xds.sock"))} == {
        "connected"
    }
    assert "read" in set(found["files"].values())
    assert found["calls"]["pay"] != "HTTP/1.1 200 OK", "in robber's namespace it calls as robber, whoever it is"
