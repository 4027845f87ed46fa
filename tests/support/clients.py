"""Real clients in a running mesh: a whole weft in the background, and commands run as ``weft exec`` runs them."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anyio.from_thread import start_blocking_portal

from tests.support.system import System, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal

APPS: Final = Path(__file__).parent / "apps"
IDLE: Final = f"{sys.executable} -c 'import signal; signal.pause()'"
"""The command of a workload that only calls: commands are run in its place."""
_WEFT: Final = "import sys; from weft.cli.main import main; sys.exit(main(sys.argv[1:]))"


class Callers:
    """A running mesh for tests that are not async themselves, and for programs that are not Python."""

    def __init__(self, portal: BlockingPortal, system: System) -> None:
        self._portal = portal
        self.system = system

    def argv(self, workload: str, *command: str) -> list[str]:
        """The command line that runs ``command`` where a workload's traffic is captured."""
        return [sys.executable, "-c", _WEFT, "exec", workload, "--", *command]

    @property
    def environ(self) -> dict[str, str]:
        """A user's terminal, with a proxy of the machine's own in it, which must not matter."""
        return {**self.system.environ, "http_proxy": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}

    def run(self, workload: str, *command: str, seconds: float = 30, **more: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401 - as subprocess.run
        """Run a command in a workload's place to its end."""
        return subprocess.run(
            self.argv(workload, *command),
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            **more,
        )

    def python(self, workload: str, program: str, *arguments: str, seconds: float = 30) -> str:
        """What a Python program prints in a workload's place; it must end well."""
        done = self.run(workload, sys.executable, "-c", program, *arguments, seconds=seconds)
        assert done.returncode == 0, done.stderr or done.stdout
        return done.stdout

    @contextmanager
    def started(self, workload: str, *command: str) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on while something else is done, with pipes to and from it; killed afterwards."""
        process = subprocess.Popen(
            self.argv(workload, *command),
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def apply(self, text: str, owner: str = "test") -> None:
        """Apply manifests, and wait until every proxy has acknowledged them."""
        answer = self._portal.call(self.system.ask, f"/weft/v1/apply?owner={owner}&wait=10", "POST", text)
        assert not [each for each in answer["problems"] if each["severity"] == "error"], answer["problems"]

    def ask(self, path: str) -> dict[str, Any]:
        """The control plane's JSON."""
        return self._portal.call(self.system.ask, path)

    def rows(self) -> list[dict[str, Any]]:
        """The agent's processes."""
        return self._portal.call(self.system.rows)

    def log(self, name: str) -> str:
        return "\n".join(path.read_text() for path in sorted((self.system.state / "logs").glob(f"*{name}*")))


@contextmanager
def callers(mesh: str, **environ: str) -> Iterator[Callers]:
    """A mesh whose every workload serves, ended afterwards."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running(mesh, serving=False, **environ)) as system,
    ):
        portal.call(system.until, lambda: _serving(system), "every application serves")
        yield Callers(portal, system)


async def _serving(system: System) -> bool:
    apps = [row for row in await system.rows() if row["kind"] == "app"]
    return bool(apps) and all(row["state"] == "serving" for row in apps)
