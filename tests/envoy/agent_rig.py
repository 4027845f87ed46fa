"""An agent under test, as the user that a test chooses, in directories of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0
T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], seconds: float = PATIENCE) -> T:
    """What ``look`` finds, as soon as it finds something true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


class User:
    """Who runs the agent: ``prefix`` starts a program as them, ``python`` is an interpreter that they may run."""

    def __init__(self, prefix: tuple[str, ...], python: str, uid: int) -> None:
        self.prefix = prefix
        self.python = python
        self.uid = uid

    def environment(self) -> dict[str, str]:
        packages = [str(ROOT), str(ROOT / "src"), *(path for path in sys.path if path.endswith("-packages"))]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("WEFT_", "XDG_", "COV"))}
        return kept | {"PYTHONPATH": os.pathsep.join(packages), "PYTHONDONTWRITEBYTECODE": "1"}


def myself() -> User:
    return User((), sys.executable, os.geteuid())


def nobody() -> User:
    """An unprivileged user. Skips where there is no way to become one, or none of its interpreters has our version."""
    if os.geteuid() != 0:
        return myself()
    prefix = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs")
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is missing")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin") or ""):
        user = User(prefix, python, 65534)
        probe = "import subprocess, sys, msgspec, weft; subprocess.run([sys.executable, '-c', ''], check=True)"
        command = (*prefix, python, "-c", probe)
        if python and subprocess.run(command, env=user.environment(), capture_output=True, check=False).returncode == 0:
            return user
    pytest.skip("no interpreter that an unprivileged user may run with our packages")


R = TypeVar("R", bound="Rig")


class Rig:
    def __init__(self, user: User, directory: Path) -> None:
        self.user = user
        self.directory = directory
        self.runtime = directory / "run"
        self.state = directory / "state"
        self.mesh = directory / "mesh.yaml"
        self.control: subprocess.Popen[bytes] | None = None
        self.agent: subprocess.Popen[bytes] | None = None
        self.environment = user.environment() | {
            "WEFT_STATE_DIR": str(self.state),
            "WEFT_RUNTIME_DIR": str(self.runtime),
            "WEFT_CONTROL": "false",
            "WEFT_HOST": "here",
            "WEFT_GRACE_SECONDS": "3",
        }

    def program(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    def wants(self, text: str) -> None:
        fresh = self.mesh.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.mesh)

    def _start(self, *arguments: str, log: str) -> subprocess.Popen[bytes]:
        output = (self.directory / log).open("ab")
        with output:
            return subprocess.Popen(
                [*self.user.prefix, self.user.python, *arguments],
                env=self.environment,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def start_control(self) -> None:
        self.runtime.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(self.runtime, self.user.uid, -1)
        self.control = self._start(
            "-m", "tests.envoy.little_control", str(self.runtime), str(self.mesh), log="control.txt"
        )

    def start_agent(self, **environment: str) -> None:
        self.environment |= environment
        self.agent = self._start("-m", "weft.agent", log="agent.txt")
        wait_for("agent.sock", lambda: self.ask("GET", "/v1/processes"))

    def kill(self, process: subprocess.Popen[bytes] | None) -> None:
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(PATIENCE)

    def ask(self, method: str, target: str, timeout: float = PATIENCE) -> Any:  # noqa: ANN401 - JSON
        """What the agent answers, or None when it does not."""
        return self._curl("agent.sock", method, target, timeout)

    def _curl(self, socket: str, method: str, target: str, timeout: float = PATIENCE) -> Any:  # noqa: ANN401 - JSON
        command = ["curl", "-sS", "-m", str(timeout), "-X", method, "--unix-socket", str(self.runtime / socket)]
        done = subprocess.run([*command, f"http://x{target}"], capture_output=True, check=False, text=True)
        try:
            return json.loads(done.stdout) if done.returncode == 0 else None
        except ValueError:
            return done.stdout

    def rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The agent's processes by name and kind."""
        said = self.ask("GET", "/v1/processes")
        return {(row["name"], row["kind"]): row for row in said["processes"]} if said else {}

    def row(self, name: str, kind: str = "app") -> dict[str, Any]:
        return self.rows().get((name, kind), {})

    def serving(self, *names: str) -> None:
        """Wait until these workloads serve."""
        for name in names:
            wait_for(f"{name} serves", lambda name=name: self.row(name).get("state") == "serving")  # type: ignore[misc]

    def hosts(self) -> list[dict[str, Any]]:
        found = self._curl("control.sock", "GET", "/weft/v1/hosts")
        return found if isinstance(found, list) else []

    def inside(self, name: str, *command: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run a command where a workload's traffic is captured."""
        pid = self.row(name)["pid"]
        enter = ["nsenter", "--preserve-credentials"]
        if not Path(f"/proc/{pid}/ns/user").samefile("/proc/self/ns/user"):
            enter.append(f"--user=/proc/{pid}/ns/user")
        return subprocess.run(
            [*enter, f"--net=/proc/{pid}/ns/net", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def pids(self) -> list[int]:
        return [row["pid"] for row in self.rows().values() if row["pid"] and row["kind"] != "agent"]

    def end(self) -> None:
        """Stop everything, and let nothing of this rig live on even when the test failed."""
        if self.agent is not None and self.agent.poll() is None:
            self.agent.send_signal(signal.SIGTERM)
            try:
                self.agent.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill(self.agent)
        self.kill(self.control)
        for pid in self.stray():
            os.kill(pid, signal.SIGKILL)

    def stray(self) -> list[int]:
        """Processes that still carry this rig's directories in their command line or environment."""
        marks = (str(self.state).encode(), str(self.runtime).encode())
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if any(mark in text for mark in marks):
                found.append(int(entry.name))
        return found

    def logs(self) -> str:
        files = [*self.directory.glob("*.txt"), *(self.state / "logs").glob("*.log")]
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in files)


@contextmanager
def rig(user: User, kind: type[R] = Rig) -> Iterator[R]:  # type: ignore[assignment]  # mypy: a default for a type variable
    """Directories, and the promise that nothing stays."""
    directory = Path(tempfile.mkdtemp(prefix="weft-"))
    directory.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(directory, user.uid, -1)
    made = kind(user, directory)
    try:
        yield made
    except BaseException:
        print(made.logs())  # noqa: T201 - pytest shows it beside the failure
        raise
    finally:
        made.end()
        shutil.rmtree(directory, ignore_errors=True)
