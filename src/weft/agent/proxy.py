"""One Envoy as the agent sees it: its files, its command line, its admin socket, and its hot restart."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from weft import private
from weft.agent import processes, unix_http
from weft.agent.child import Child
from weft.agent.processes import Launch
from weft.model.service import Address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from weft.agent.processes import Identity, Namespace, Running
    from weft.paths import Paths

LOG_FLUSH_MILLISECONDS: Final = 1_000
"""How late a line of the access log may be. Envoy's own 10 s are long for somebody who waits to see a request."""
DRAIN_SECONDS: Final = 4
PARENT_SECONDS: Final = 8
"""In a hot restart the old process drains for the first and ends after the second."""

UPGRADE_SECONDS: Final = 15.0
PROPAGATION_SECONDS: Final = 0.5
"""Before what drains may be asked to end: callers' proxies must have heard that it drains."""
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where Envoy puts it; only its own file is touched


class UpgradeError(Exception):
    """The new process did not come up; the old one goes on."""


async def host_network() -> Namespace | None:
    """Not in a namespace of its own."""
    return None


async def no_secrets(node: str) -> None:
    """Start at once: there is nothing to wait for."""


def _nothing() -> None:
    """Nobody wants to know."""


class Proxy:
    """One Envoy. ``render`` gives its bootstrap; ``namespace`` where it shall live, asked before each start; ``secrets`` returns
    when its SVID is there, or was waited for long enough.
    """

    def __init__(
        self,
        node: str,
        paths: Paths,
        binary: Path,
        concurrency: int,
        render: Callable[[], bytes],
        namespace: Callable[[], Awaitable[Namespace | None]] = host_network,
        secrets: Callable[[str], Awaitable[None]] = no_secrets,
    ) -> None:
        self.node = node
        self.sockets = paths.sockets(node)
        self._directory = paths.proxy(node)
        self._binary = binary
        self._concurrency = concurrency
        self._render = render
        self._namespace = namespace
        self._secrets = secrets
        self._beside: Identity | None = None
        self.renewed = 0
        """How often another process took over."""
        self.on_renewed: Callable[[], None] = _nothing
        name = node.replace("/", ".")
        self.log = paths.logs / f"{name}.proxy.log"
        self.child = Child(paths.records / f"{name}.proxy.json", self.log, self._prepare)

    @property
    def admin_address(self) -> Address:
        return Address(path=str(self.sockets / "admin.sock"))

    @property
    def processes(self) -> tuple[Identity, ...]:
        """Every process that is this proxy: two during a hot restart."""
        return tuple(one for one in (self.child.identity, self._beside) if one is not None)

    def make_directories(self) -> None:
        for directory in (self.sockets, self._directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def _prepare(self) -> Launch:
        self.make_directories()
        self._clean()
        await self._secrets(self.node)
        namespace = await self._namespace()
        return self._launch(namespace, 0, ("--use-dynamic-base-id", "--base-id-path", str(self._base_path)))

    def _launch(self, namespace: Namespace | None, epoch: int, base: tuple[str, ...]) -> Launch:
        bootstrap = self._directory / f"bootstrap-{epoch}.json"
        private.replace(bootstrap, self._render(), lasting=False)
        argv = (
            *(str(self._binary), "--config-path", str(bootstrap)),
            *("--concurrency", str(self._concurrency), "--log-level", "warning"),
            *("--file-flush-interval-msec", str(LOG_FLUSH_MILLISECONDS)),
            *("--restart-epoch", str(epoch), *base),
            *("--drain-time-s", str(DRAIN_SECONDS), "--parent-shutdown-time-s", str(PARENT_SECONDS)),
        )
        return Launch(argv=argv, environment={}, log=self.log, namespace=namespace, detached=True)

    @property
    def _base_path(self) -> Path:
        return self._directory / "base-id"

    def _clean(self) -> None:
        """Remove the shared memory of an Envoy that has ended: it does not do so itself."""
        try:
            base = self._base_path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return
        if base.isdigit():
            (SHARED_MEMORY / f"envoy_shared_memory_{int(base) * 10}").unlink(missing_ok=True)
        self._base_path.unlink()

    def remove_files(self) -> None:
        """After the end for good: nothing of this proxy stays but its log."""
        self._clean()
        for directory in (self.sockets, self._directory):
            for path in directory.glob("*"):
                path.unlink(missing_ok=True)
            if directory.exists():
                directory.rmdir()

    async def admin(self, method: str, target: str) -> unix_http.Answer:
        """Raises ``HttpError``."""
        return await unix_http.request(self.admin_address, method, target)

    async def holds_nothing(self) -> bool:
        """Whether Envoy says that it has no certificate at all, neither its own nor one to check others by."""
        try:
            answer = await self.admin("GET", "/certs")
            return answer.status == 200 and json.loads(answer.body) == {"certificates": []}
        except (unix_http.HttpError, ValueError):
            return False

    async def ready(self) -> bool:
        """Envoy has its first configuration and listens."""
        try:
            return (await self.admin("GET", "/ready")).status == 200
        except unix_http.HttpError:
            return False

    async def wait_ready(self, timeout_seconds: float) -> bool:
        """Whether it became ready in time."""
        with anyio.move_on_after(timeout_seconds):
            while not await self.ready():  # noqa: ASYNC110 - another process has no event
                await anyio.sleep(0.02)
            return True
        return False

    async def requests_in_flight(self) -> int:
        """How many requests the application is answering now, as its proxy counts them; 0 if the proxy is absent."""
        try:
            stats = await self.admin("GET", r"/stats?filter=%5Ecluster%5C.inbound.*upstream_rq_active")
        except unix_http.HttpError:
            return 0
        return sum(int(number) for number in re.findall(rb": (\d+)$", stats.body, re.MULTILINE))

    async def drained(self, limit_seconds: float) -> None:
        """Return when callers went elsewhere, who were told, and what they had asked is answered; or after the limit."""
        with anyio.move_on_after(limit_seconds):
            await anyio.sleep(PROPAGATION_SECONDS)
            while await self.requests_in_flight():  # noqa: ASYNC110 - another process's counter has no event
                await anyio.sleep(0.05)

    async def drain_listeners(self, limit_seconds: float) -> None:
        """Take no new connections; wait until those there are have ended, or for the limit."""
        try:
            await self.admin("POST", "/drain_listeners?graceful&skip_exit")
        except unix_http.HttpError:
            return
        with anyio.move_on_after(limit_seconds):
            while await self._connections():  # noqa: ASYNC110 - another process's counter has no event
                await anyio.sleep(0.05)

    async def _connections(self) -> int:
        try:
            stats = await self.admin("GET", r"/stats?filter=%5Ehttp%5C..*downstream_cx_active")
        except unix_http.HttpError:
            return 0
        # The one that asks is a connection of the admin interface itself.
        lines = [line for line in stats.body.splitlines() if not line.startswith(b"http.admin.")]
        return sum(int(line.rpartition(b": ")[2]) for line in lines if line.rpartition(b": ")[2].isdigit())

    async def upgrade(self) -> None:
        """Hot restart: a new process takes the listening sockets over, the old one drains and ends.

        Raises ``UpgradeError`` if the new one does not come up; it is removed again and the old one is untouched.
        """
        _, before = await self._epoch()
        if before < 0 or not self.child.pid or not self._base_path.exists():
            raise UpgradeError(f"{self.node} is not running")
        epoch = before + 1
        base = self._base_path.read_text(encoding="ascii").strip()
        launch = self._launch(await self._namespace(), epoch, ("--base-id", base))
        try:
            running = await processes.start(self.child.marked(launch))
        except processes.StartError as error:
            raise UpgradeError(f"{self.node}: {error}") from error
        self._beside = running.identity
        try:
            if not await self._took_over(epoch, running):
                running.signal(signal.SIGKILL)
                await running.wait()
                running.close()
                raise UpgradeError(
                    f"{self.node}: the new process was not ready after {UPGRADE_SECONDS} s; see {self.log}"
                )
            old = self.child.take(running)
            self.renewed += 1
            self.on_renewed()
            if old is not None:
                self._beside = old.identity
                with anyio.move_on_after(PARENT_SECONDS * 2):
                    await old.wait()
                old.signal(signal.SIGKILL)
                old.close()
        finally:
            self._beside = None

    async def _took_over(self, epoch: int, running: Running) -> bool:
        with anyio.move_on_after(UPGRADE_SECONDS):
            while processes.identify(running.pid) == running.identity:
                if await self._epoch() == ("LIVE", epoch):
                    return True
                await anyio.sleep(0.05)
        return False

    async def _epoch(self) -> tuple[str, int]:
        """State and restart epoch of the Envoy that answers now; -1 when none does."""
        try:
            said = json.loads((await self.admin("GET", "/server_info")).body)
        except (unix_http.HttpError, ValueError):
            return "", -1
        return said.get("state", ""), int(said.get("command_line_options", {}).get("restart_epoch", -1))
