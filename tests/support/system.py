"""All of weft as its users run it: agent, control plane, Envoys and applications, in directories of its own.

Every process is a real one. Tests and benchmarks of promises start a ``System``, break something, and count what a steady
load through it was answered.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpx2
import msgspec

from tests.support import meshes
from tests.support.meshes import echo, front, mesh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ROOT: Final = Path(__file__).resolve().parents[2]
ECHO: Final = meshes.ECHO
PATIENCE: Final = 60.0
LOOK_SECONDS: Final = 0.02
RATE: Final = 200
"""Requests per second of the promises' protocol (docs/reference/promises.md)."""

SHOP: Final = mesh(front(), echo("back", "versions: {v1: {replicas: 2}, v2: {}}"))
"""``front`` is exposed and calls ``back`` (``/call/back/``): two instances of v1 and one of v2."""


class Load(msgspec.Struct, frozen=True):
    """What a load was answered: ``statuses`` counts them (0: no answer), ``failed`` all but the expected ones.

    ``latencies`` are seconds from the time at which a request was due, so that waiting for a free connection counts.
    ``failures`` are the first few (seconds since the load began, status, body); ``last_failure`` is on the clock of
    ``time.monotonic``, 0 for none.
    """

    sent: int
    failed: int
    statuses: dict[int, int]
    latencies: tuple[float, ...]
    failures: tuple[tuple[float, int, str], ...]
    bodies: dict[str, int]
    last_failure: float = 0.0

    def percentile(self, share: float) -> float:
        """Seconds within which ``share`` (0 to 1) of the requests were answered."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def request(address: tuple[str, int] | Path, host: str, path: str) -> tuple[int, str]:
    """One request on its own connection, never repeated: status (0: none) and body."""
    try:
        if isinstance(address, Path):
            reader, writer = await asyncio.open_unix_connection(str(address))
        else:
            reader, writer = await asyncio.open_connection(*address)
    except OSError as error:
        return 0, repr(error)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        raw = await asyncio.wait_for(reader.read(), 15)
    except (OSError, TimeoutError) as error:
        return 0, repr(error)
    finally:
        writer.close()
    head, _, body = raw.partition(b"\r\n\r\n")
    parts = head.split(b" ", 2)
    return (int(parts[1]) if len(parts) > 1 else 0), body.decode(errors="replace")


async def load(
    address: tuple[str, int] | Path,
    path: str,
    *,
    seconds: float,
    host: str = "localhost",
    rate: int = RATE,
    expected: frozenset[int] = frozenset({200}),
    under_way: set[float] | None = None,
) -> Load:
    """A fixed rate of requests for so long; late answers do not slow it down, and nothing is tried again.

    ``under_way`` holds, at any moment, one number for each request that has not been answered yet.
    """
    statuses: Counter[int] = Counter()
    bodies: Counter[str] = Counter()
    latencies: list[float] = []
    failures: list[tuple[float, int, str]] = []
    begun = time.monotonic()
    last_failure = 0.0

    async def one(due: float) -> None:
        nonlocal last_failure
        if under_way is not None:
            under_way.add(due)
        status, body = await request(address, host, path)
        if under_way is not None:
            under_way.discard(due)
        latencies.append(time.monotonic() - due)
        statuses[status] += 1
        bodies[body.rpartition(" ")[0][:200]] += 1
        if status not in expected:
            last_failure = time.monotonic()
            if len(failures) < 20:
                failures.append((round(due - begun, 3), status, body[:200]))

    count = int(seconds * rate)
    async with anyio.create_task_group() as tasks:
        for number in range(count):
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.start_soon(one, due)
    failed = sum(number for status, number in statuses.items() if status not in expected)
    return Load(count, failed, dict(statuses), tuple(latencies), tuple(failures), dict(bodies), last_failure)


class System:
    """One weft in a temporary directory. Use ``running`` to make one."""

    def __init__(self, directory: Path, mesh: str, environ: dict[str, str]) -> None:
        self.directory = directory
        self.file = directory / "mesh.yaml"
        self.file.write_text(mesh)
        self.state = directory / "s"
        self.runtime = directory / "r"
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("WEFT_", "XDG_"))}
        self.environ = kept | {
            "WEFT_STATE_DIR": str(self.state),
            "WEFT_RUNTIME_DIR": str(self.runtime),
            "WEFT_FILES": str(self.file),
            "WEFT_HOST": "test",
            **environ,
        }
        self.agent: asyncio.subprocess.Process | None = None
        self.control: asyncio.subprocess.Process | None = None
        """Only where the test runs it itself (see ``running``); else the agent does."""
        self.known_gateway: tuple[str, int] | None = None
        self.under_way: set[float] = set()
        """One number for each request of a load that has not been answered yet."""

    # --- processes

    async def start(self) -> None:
        """Start the agent, which starts everything else; returns at once."""
        self.agent = await self._spawn("agent")

    async def start_control(self) -> None:
        """Start a control plane that the agent does not supervise: it stays away for as long as a test wants."""
        self.control = await self._spawn("control")

    async def _spawn(self, name: str) -> asyncio.subprocess.Process:
        with (self.directory / f"{name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                f"weft.{name}",
                env=self.environ,
                cwd=self.directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def stop(self) -> None:
        """End everything in order. Whatever is still there after that is killed, and fails the test."""
        for process in (self.agent, self.control):
            if process is not None and process.returncode is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
                with anyio.move_on_after(PATIENCE):
                    await process.wait()
        left = self.left()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        code = self.agent.returncode if self.agent else None
        assert not left, f"still running after the agent's end ({code}): {left}\n{await self.story()}"

    def left(self) -> dict[int, str]:
        """Every process that writes to a file of this system, all of ours do: pid and command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                output = (entry / "fd" / "1").readlink() if entry.name.isdigit() else Path()
                if output.is_relative_to(self.directory):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = command.decode(errors="replace").strip()
            except OSError:
                continue
        return found

    async def kill_control(self) -> None:
        """``kill -9`` of a control plane that the test runs itself."""
        assert self.control is not None
        self.control.kill()
        await self.control.wait()

    async def kill_agent(self) -> None:
        """``kill -9`` of the agent alone."""
        assert self.agent is not None
        self.agent.kill()
        await self.agent.wait()

    async def rows(self) -> list[dict[str, Any]]:
        """The agent's processes; empty while it does not answer."""
        try:
            return list((await self.ask_agent("/v1/processes"))["processes"])
        except httpx2.TransportError:
            return []

    async def row(self, name: str, kind: str = "app") -> dict[str, Any]:
        return next(row for row in await self.rows() if (row["name"], row["kind"]) == (name, kind))

    async def kill(self, name: str, kind: str = "app", number: signal.Signals = signal.SIGKILL) -> int:
        """A signal to one process, by the pid that the agent says. Returns the pid."""
        pid = int((await self.row(name, kind))["pid"])
        self.kill_pid(pid, number)
        return pid

    def kill_pid(self, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        """A signal to one process of this system, and to no other."""
        assert pid in self.left(), f"{pid} is not one of {self.left()}"
        os.kill(pid, number)

    # --- asking

    async def ask_agent(self, path: str, method: str = "GET") -> dict[str, Any]:
        return dict((await self._ask(self.runtime / "agent.sock", method, path)).json())

    async def ask_agent_text(self, path: str) -> str:
        return (await self._ask(self.runtime / "agent.sock", "GET", path)).text

    async def ask(self, path: str, method: str = "GET", content: str = "") -> dict[str, Any]:
        """The control plane's JSON; refusals raise."""
        return dict((await self._ask(self.runtime / "control.sock", method, path, content)).json())

    async def metrics(self) -> dict[str, float]:
        """The control plane's metrics by their names with labels."""
        text = (await self._ask(self.runtime / "control.sock", "GET", "/metrics")).text
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    async def _ask(self, socket: Path, method: str, path: str, content: str = "") -> httpx2.Response:
        transport = httpx2.AsyncHTTPTransport(uds=str(socket))
        async with httpx2.AsyncClient(transport=transport, base_url="http://weft", timeout=30) as client:
            answer = await client.request(method, path, content=content.encode())
            assert answer.status_code < 400, answer.text
            return answer

    async def apply(self, text: str, owner: str = "test") -> dict[str, Any]:
        """Apply manifests; every refusal fails the test."""
        answer = await self.ask(f"/weft/v1/apply?owner={owner}", "POST", text)
        assert not [each for each in answer["problems"] if each["severity"] == "error"], answer["problems"]
        return answer

    async def proxies(self) -> dict[str, dict[str, Any]]:
        return {item["node"]: item for item in (await self.ask("/weft/v1/proxies"))["items"]}

    # --- waiting

    async def until(self, true: Callable[[], Awaitable[object]], what: str, seconds: float = PATIENCE) -> float:
        """Wait until something holds that nobody announces. Returns how long it took."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            try:
                if await true():
                    return time.monotonic() - begun
            except (httpx2.TransportError, OSError, StopIteration, AssertionError):
                pass
            await asyncio.sleep(LOOK_SECONDS)
        raise AssertionError(f"not within {seconds:g} s: {what}\n{await self.story()}")

    async def story(self) -> str:
        """How everything stands and what was logged last, for whoever reads a failure: the directory is gone by then."""
        rows = [f"{row['kind']} {row['name']}: {row['state']} {row.get('reason', '')}" for row in await self.rows()]
        logs = (
            self.directory / "agent.log",
            self.directory / "control.log",
            *sorted((self.state / "logs").glob("*.log")),
        )
        last = [f"--- {log.name}\n{_end_of(log)}" for log in logs if log.exists() and log.stat().st_size]
        return "\n".join([*(rows or ["the agent does not answer"]), *last])

    async def until_serving(self) -> float:
        """Every application serves, and the gateway lets a request through to the exposed service."""

        async def serving() -> bool:
            apps = [row for row in await self.rows() if row["kind"] == "app"]
            return bool(apps) and all(row["state"] == "serving" for row in apps)

        taken = await self.until(serving, "every application serves")
        return taken + await self.until_answered("/")

    async def until_answered(self, path: str, seconds: float = PATIENCE) -> float:
        async def answered() -> bool:
            return (await self.get(path))[0] == 200

        return await self.until(answered, f"200 from {path}", seconds)

    # --- calling

    async def gateway(self) -> tuple[str, int]:
        """Where the exposed service is reached from outside; while control is away, where it was."""
        try:
            self.known_gateway = await self._gateway()
        except (httpx2.TransportError, AssertionError):
            if self.known_gateway is None:
                raise
        return self.known_gateway

    async def _gateway(self) -> tuple[str, int]:
        for host in (await self.ask("/weft/v1/hosts"))["items"]:
            for workload in host["workloads"]:
                for _, address in workload["gateway_ports"]:
                    return address["ip"], address["port"]
        raise AssertionError("no gateway has a port")

    async def get(self, path: str) -> tuple[int, str]:
        """One request from outside: status and body."""
        return await request(await self.gateway(), "localhost", path)

    async def load(self, path: str, seconds: float, *, rate: int = RATE) -> Load:
        return await load(await self.gateway(), path, seconds=seconds, rate=rate, under_way=self.under_way)

    async def during(
        self, path: str, seconds: float, act: Callable[[], Awaitable[object]], *, after: float = 1.0, rate: int = RATE
    ) -> Load:
        """A load, and something done ``after`` so many seconds of it."""
        result: list[Load] = []

        async def loading() -> None:
            result.append(await self.load(path, seconds, rate=rate))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(loading)
            await asyncio.sleep(after)
            await act()
        return result[0]


def _end_of(log: Path) -> str:
    return log.read_bytes()[-1500:].decode(errors="replace").strip()


@asynccontextmanager
async def running(mesh: str = SHOP, *, serving: bool = True, **environ: str) -> AsyncIterator[System]:
    """A started system that serves, ended and removed afterwards. Keyword arguments become ``WEFT_*`` variables.

    With ``control="false"`` the agent does not run the control plane; it is the test's (``start_control``,
    ``kill_control``).
    """
    directory = Path(tempfile.mkdtemp(prefix="weft-"))
    system = System(directory, mesh, {f"WEFT_{name.upper()}": value for name, value in environ.items()})
    try:
        await system.start()
        if environ.get("control") == "false":
            await system.start_control()
        if serving:
            await system.until_serving()
        yield system
    finally:
        with anyio.CancelScope(shield=True):
            await system.stop()
        shutil.rmtree(directory, ignore_errors=True)
