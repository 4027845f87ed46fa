"""Several hosts on one machine: each a network namespace with its own address, its own agent and its own directories.

``rig`` makes a bridge in this machine's network and one namespace per host behind it, so that a test reaches every host and
sees every byte between them (``Rig.sniffed``). Needs root, and ``ip`` and ``nsenter``. Everything that was made is removed, every
process by its number.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from tests.support.needs import program
from tests.support.system import System
from weft.identity.join import PREFIX, JoinTokens
from weft.names import DOOR_PORT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

MAIN: Final = "import sys; from weft.cli.main import main; sys.exit(main())"
EVERYTHING: Final = 0x0003
"""ETH_P_ALL."""
NAMES: Final = ("anna", "bert", "cleo", "dora")


def can() -> bool:
    """Whether hosts can be made here: root, and the programs."""
    return os.geteuid() == 0 and all(program(name) for name in ("ip", "nsenter"))


class Host(System):
    """One host. The first of a rig runs control."""

    def __init__(self, name: str, address: str, namespace: str, link: str, mesh: str, environ: dict[str, str]) -> None:
        super().__init__(
            Path(tempfile.mkdtemp(prefix=f"weft-{name}-")),
            mesh,
            {"WEFT_HOST": name, "WEFT_ADDRESS": address, "WEFT_GATEWAY_ADDRESS": address, **environ},
        )
        if not mesh:
            del self.environ["WEFT_FILES"]
        self.name = name
        self.address = address
        self.namespace = namespace
        self.link = link
        """The end of its cable in this machine's network."""

    def inside(self, *command: str) -> list[str]:
        """A command line that runs ``command`` in this host's network."""
        return [str(program("nsenter")), f"--net=/run/netns/{self.namespace}", *command]

    async def _spawn(self, name: str) -> asyncio.subprocess.Process:
        with (self.directory / f"{name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self.inside(sys.executable, "-m", f"weft.{name}"),
                env=self.environ,
                cwd=self.directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def weft(self, *words: str, stdin: str = "", **more: str) -> tuple[int, str, str]:
        """A verb, as a user of this host runs it: exit code, data, talk. Keyword arguments are more environment."""
        environ = {key: value for key, value in self.environ.items() if key != "WEFT_ADDRESS"} | more
        process = await asyncio.create_subprocess_exec(
            *self.inside(sys.executable, "-c", MAIN, *words),
            env=environ,
            cwd=self.directory,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 90)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def kill_all(self) -> int:
        """``kill -9`` of every process of this host, as if its power had failed; how many there were."""
        left = self.left()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return len(left)

    def cable(self, *, plugged: bool) -> None:
        """Pull its cable, or plug it in again."""
        _ip("link", "set", self.link, "up" if plugged else "down")

    async def end(self) -> None:
        """End everything of it, in order where the agent still can."""
        for pid in self._agents():
            os.kill(pid, signal.SIGTERM)
        with anyio.move_on_after(20):
            while self.left():  # noqa: ASYNC110 - processes of others have no event
                await asyncio.sleep(0.05)
        left = self.left()
        self.kill_all()
        if self.agent is not None:
            await self.agent.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
        assert not left, f"still running after the end of {self.name}: {left}"

    def _agents(self) -> list[int]:
        """The agent, whoever started it."""
        return [pid for pid, command in self.left().items() if command.endswith("-m weft.agent")]


class Rig:
    """The hosts, by name and in order."""

    def __init__(self, hosts: tuple[Host, ...], bridge: str) -> None:
        self.hosts = hosts
        self.bridge = bridge

    @property
    def control(self) -> Host:
        return self.hosts[0]

    def __getitem__(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    async def join(self, host: Host) -> None:
        """Join it to the mesh of the first, as its user would."""
        code, out, err = await self.control.weft("token", "create", "--join", host.name)
        assert code == 0, (out, err)
        token_ = next(word for word in out.split() if word.startswith(PREFIX))
        code, out, err = await host.weft("join", self.control.address, "--token", token_, "--name", host.name)
        log = host.state / "logs" / "agent.log"
        assert code == 0, (out, err, log.read_text()[-3000:] if log.exists() else "no log")

    async def until_everything_serves(self) -> None:
        """Every process that control placed anywhere serves."""

        async def serving() -> bool:
            rows = [row for host in self.hosts for row in await host.rows() if row["kind"] == "app"]
            return bool(rows) and all(row["state"] == "serving" for row in rows)

        await self.control.until(serving, "every application of every host serves")

    @contextmanager
    def sniffed(self) -> Iterator[bytearray]:
        """Everything that crosses the cables meanwhile, as it is on the wire: frames, each after its size (4 bytes, big end
        first); ``between`` picks those of two hosts.
        """
        seen = bytearray()
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING)) as tap:
            tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024 * 1024)
            tap.bind((self.bridge, 0))
            _promiscuous(tap, self.bridge)
            tap.setblocking(False)
            yield seen
            while True:
                try:
                    frame = tap.recv(262_144)
                    seen += len(frame).to_bytes(4, "big") + frame
                except BlockingIOError:
                    return


async def token(control: Host, name: str) -> str:
    """A join token for one host."""
    trust = await control.ask("/weft/v1/trust")
    root = base64.b64decode(trust["bundles"][0]["x509"][0])
    return JoinTokens(control.state / "join").create(name, root, "a test", datetime.now(UTC))[0]


def _promiscuous(tap: socket.socket, link: str) -> None:
    """A bridge hands on to its own machine only what is meant for it, unless it is asked for everything."""
    index = socket.if_nametoindex(link)
    request = index.to_bytes(4, sys.byteorder) + (1).to_bytes(2, sys.byteorder) + bytes(10)
    tap.setsockopt(263, 1, request)  # SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC


def _ip(*words: str) -> None:
    done = subprocess.run([str(program("ip")), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@contextmanager
def _networks(count: int) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """A bridge, and for each host its address, its namespace and its cable."""
    mark = f"{os.getpid() % 60_000:x}"
    bridge, net = f"wb{mark}", f"10.{64 + os.getpid() % 64}.{os.getpid() // 64 % 256}"
    made: list[tuple[str, str, str]] = []
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{net}.254/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for number in range(count):
            namespace, link, peer = f"weft-{mark}-{number}", f"wv{mark}-{number}", f"wp{mark}-{number}"
            _ip("netns", "add", namespace)
            made.append((f"{net}.{number + 1}", namespace, link))
            _ip("link", "add", link, "type", "veth", "peer", "name", peer, "netns", namespace)
            _ip("link", "set", link, "master", bridge, "up")
            for setting in (
                ("address", "add", f"{net}.{number + 1}/24", "dev", peer),
                ("link", "set", peer, "up"),
                ("link", "set", "lo", "up"),
            ):
                _ip("-n", namespace, *setting)
        yield bridge, made
    finally:
        for _, namespace, link in made:
            for words in (("link", "delete", link), ("netns", "delete", namespace)):
                subprocess.run([str(program("ip")), *words], capture_output=True, check=False)
        subprocess.run([str(program("ip")), "link", "delete", bridge], capture_output=True, check=False)


@asynccontextmanager
async def rig(
    mesh: str, count: int = 2, *, joined: bool = True, clocks: dict[str, dict[str, str]] | None = None, **environ: str
) -> AsyncIterator[Rig]:
    """``count`` hosts, the first with a control plane that runs ``mesh``, the others joined. Keyword arguments become
    ``WEFT_*`` variables of all of them; ``clocks`` are the variables (``clocks.environ``) of some, by name.
    """
    chosen: dict[str, Any] = {f"WEFT_{name.upper()}": value for name, value in environ.items()}
    with _networks(count) as (bridge, networks):
        hosts = tuple(
            Host(name, *network, mesh if at == 0 else "", chosen | (clocks or {}).get(name, {}))
            for at, (name, network) in enumerate(zip(NAMES, networks, strict=False))
        )
        made = Rig(hosts, bridge)
        try:
            await made.control.start()
            await made.control.until(
                partial(door_answers, made.control.address), "the control plane is ready behind its door"
            )
            if joined:
                for host in hosts[1:]:
                    await made.join(host)
            yield made
        finally:
            with anyio.CancelScope(shield=True):
                for host in reversed(hosts):
                    host.cable(plugged=True)
                    await host.end()


def between(frames: bytes, one: str, other: str) -> bytes:
    """Of what ``Rig.sniffed`` saw, the frames between two hosts, one after the other."""
    ends = {socket.inet_aton(one), socket.inet_aton(other)}
    found, at = bytearray(), 0
    while at < len(frames):
        size = int.from_bytes(frames[at : at + 4], "big")
        frame = frames[at + 4 : at + 4 + size]
        if frame[12:14] == b"\x08\x00" and {frame[26:30], frame[30:34]} == ends:
            found += frame
        at += 4 + size
    return bytes(found)


async def door_answers(address: str) -> bool:
    """Whether control is ready behind its door, as anybody may ask. Raises ``OSError`` while nobody listens."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # a probe: nothing is said and nothing believed
    reader, writer = await asyncio.open_connection(address, DOOR_PORT, ssl=context)
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nhost: control\r\nconnection: close\r\n\r\n")
        return (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200")
    finally:
        writer.close()
