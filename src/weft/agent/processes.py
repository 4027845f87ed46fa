"""Starting processes, and knowing them again: by number and start time, so that a recycled number is never taken for
one.

Every process runs in a session of its own, writes to a file opened for appending, and outlives the agent.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import anyio
import msgspec

HELPER: Final = (sys.executable, "-s", "-P", "-m", "weft.agent.enter")
MARK: Final = "WEFT_PROCESS"
"""The variable by which a process, and all that it starts, is found again (see ``marked``)."""


class Namespace(msgspec.Struct, frozen=True):
    """Open descriptors to join an application's namespaces by, in the order of joining."""

    descriptors: tuple[int, ...]

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


class Launch(msgspec.Struct, frozen=True):
    """What to run: ``argv``, with exactly this environment, output appended to ``log``."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    log: Path
    directory: str = ""
    namespace: Namespace | None = None
    user: tuple[int, int] | None = None
    """The uid and gid to run as, without further groups; None: the agent's own. Only root can."""
    detached: bool = False
    """It shall have no parent (see ``enter``); how it ended is then not known."""
    private: bool = False
    """It keeps its memory to itself (``identity.memory``), its environment too: its mark stands in its arguments as well."""


class Identity(msgspec.Struct, frozen=True):
    """One process for ever: ``started`` is its start in clock ticks since this boot (/proc/PID/stat, field 22)."""

    pid: int
    started: int
    boot: str


class StartError(Exception):
    """The program could not be started; the text says why. ``code`` is the error number."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Running:
    """A live process, held by descriptor. ``own`` says that it is a child of this process and must be reaped."""

    def __init__(self, identity: Identity, descriptor: int, *, own: bool) -> None:
        self.identity = identity
        self._descriptor = descriptor
        self._own = own

    @property
    def pid(self) -> int:
        return self.identity.pid

    async def wait(self) -> str:
        """Wait for the end; how it ended in words (``exit status 1``, ``signal SIGKILL``)."""
        # A copy: two tasks may wait for one process, but not on one descriptor.
        descriptor = os.dup(self._descriptor)
        try:
            await anyio.wait_readable(descriptor)
        finally:
            os.close(descriptor)
        if not self._own:
            return "it ended"  # only a parent is told more
        try:
            _, status = os.waitpid(self.pid, os.WNOHANG)  # noqa: ASYNC222 - it has ended: this does not wait
        except ChildProcessError:
            return "it ended"
        code = os.waitstatus_to_exitcode(status)
        return f"exit status {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    def signal(self, number: signal.Signals) -> None:
        """Signal the process and everything in its group; silent if it has gone."""
        try:
            # The pidfd proves that the number is still this process's, and so is the group that bears it.
            signal.pidfd_send_signal(self._descriptor, 0)
        except ProcessLookupError:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def close(self) -> None:
        os.close(self._descriptor)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on (state first), or None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def identify(pid: int) -> Identity | None:
    """Who has this number now; None for nobody, and for a process that has ended and waits to be reaped."""
    fields = stat_fields(pid)
    if fields is None or fields[0] in ("Z", "X"):
        return None
    return Identity(pid=pid, started=int(fields[19]), boot=boot_id())


def adopt(identity: Identity) -> Running | None:
    """The very process that ``identity`` names, if it still runs."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except OSError:
        return None
    # Asked after the descriptor was opened: from here on the number cannot change hands unnoticed.
    if identify(identity.pid) == identity:
        return Running(identity, descriptor, own=False)
    os.close(descriptor)
    return None


def marked(mark: str) -> tuple[int, ...]:
    """Every process whose environment bears this mark, oldest first. One that clears its environment is not found.

    Of a process of this user that keeps its environment to itself the arguments are looked at.
    """
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if wanted not in _words(entry):
                    continue
            except OSError:
                continue
            if fields := stat_fields(int(entry.name)):
                found.append((int(fields[19]), int(entry.name)))
    return tuple(pid for _, pid in sorted(found))


def _words(entry: Path) -> list[bytes]:
    """Raises ``OSError``. What another user's process says of itself is not taken for a mark."""
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except PermissionError:
        status = (entry / "status").read_text(errors="replace")
        owners = {line.split()[1] for line in status.splitlines() if line.startswith("Uid:")}
        return (entry / "cmdline").read_bytes().split(b"\0") if owners == {str(os.geteuid())} else []


def adopt_marked(mark: str) -> Running | None:
    """The process that was started with this mark, if it still runs: the oldest that leads a session."""
    for pid in marked(mark):
        fields, identity = stat_fields(pid), identify(pid)
        if fields and identity and int(fields[3]) == pid:
            return adopt(identity)
    return None


async def end_marked(mark: str) -> None:
    """End whatever still bears this mark. Returns when it is gone."""
    for pid in marked(mark):
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            await anyio.wait_readable(descriptor)
        finally:
            os.close(descriptor)


def members(session: int) -> tuple[int, ...]:
    """Every process of a session, the leader included."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return tuple(pid for pid in pids if (fields := stat_fields(pid)) and int(fields[3]) == session)


def _open_log(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _started(process: subprocess.Popen[bytes]) -> Running:
    descriptor = os.pidfd_open(process.pid)
    fields = stat_fields(process.pid)
    started = int(fields[19]) if fields else 0
    process.returncode = 0  # reaped by Running.wait and not by subprocess
    return Running(Identity(process.pid, started, boot_id()), descriptor, own=True)


async def start(launch: Launch) -> Running:
    """Start a process. Raises ``StartError``."""
    if launch.namespace is not None or launch.detached:
        descriptors = launch.namespace.descriptors if launch.namespace else ()
        order: dict[str, object] = {"argv": launch.argv, "env": launch.environment, "directory": launch.directory}
        order["join"] = descriptors
        if launch.user:
            order["user"] = launch.user
        if launch.detached:
            return await _start_detached(order, descriptors, launch.log)
        return await _run_helper(order, descriptors, launch.log)
    log = _open_log(launch.log)
    try:
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - takes 1 ms; running the user's command is what this is for
            launch.argv,
            env=launch.environment,
            cwd=launch.directory or None,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=launch.user[0] if launch.user else None,
            group=launch.user[1] if launch.user else None,
            extra_groups=() if launch.user else None,
        )
    except OSError as error:
        raise StartError(error.errno or errno.EIO, f"{error.filename or launch.argv[0]}: {error.strerror}") from error
    finally:
        os.close(log)
    return _started(process)


async def _run_helper(order: dict[str, object], pass_fds: tuple[int, ...], log: Path) -> Running:
    """Start the helper (see ``enter``) and wait until it has become the program of ``order``, or has done without one.

    Raises ``StartError``.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    output = _open_log(log)
    try:
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - takes 1 ms; a program of ours
            HELPER,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
            # With the mark of what it becomes: from its first moment it can be found.
            env=dict(os.environ) | _mark_of(order),
            pass_fds=(writing, *pass_fds),
        )
        os.close(writing)
        running = _started(process)
        assert process.stdin is not None  # noqa: S101 - it was asked for
        process.stdin.write(json.dumps(order | {"errors": writing}).encode())
        process.stdin.close()
        await anyio.wait_readable(reading)
        if failure := os.read(reading, 4096).decode(errors="replace"):
            await running.wait()
            running.close()
            code, _, what = failure.partition(" ")
            raise StartError(int(code), f"{what}: {os.strerror(int(code))}")
        return running
    finally:
        os.close(reading)
        os.close(output)


def _mark_of(order: dict[str, object]) -> dict[str, str]:
    environment = order.get("env")
    return {MARK: environment[MARK]} if isinstance(environment, dict) and MARK in environment else {}


async def _start_detached(order: dict[str, object], descriptors: tuple[int, ...], log: Path) -> Running:
    """As ``_run_helper``, for a process that becomes a child of init. Raises ``StartError``."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            parent = await _run_helper(order | {"detach": True, "report": writing}, (*descriptors, writing), log)
        finally:
            os.close(writing)
        await parent.wait()
        parent.close()
        pid = int(os.read(reading, 32) or b"0")
    finally:
        os.close(reading)
    identity = identify(pid)
    running = adopt(identity) if identity else None
    if running is None:
        raise StartError(errno.ECHILD, f"it ended at once; {log} says why")
    return running


async def helper(order: dict[str, object], pass_fds: tuple[int, ...], log: Path) -> None:
    """Run the helper for something that is not a program of its own, to its end. Raises ``StartError``."""
    running = await _run_helper(order, pass_fds, log)
    try:
        ended = await running.wait()
        if ended != "exit status 0":
            raise StartError(errno.EIO, f"the helper failed ({ended}); {log} says more")
    finally:
        running.close()


def kill(pid: int, number: signal.Signals) -> None:
    """Signal one process; silent if it has gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


async def create_namespace(log: Path) -> Namespace:
    """A new namespace that captures. Raises ``StartError`` where the machine does not allow it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        try:
            await helper({"create": True, "report": theirs.fileno()}, (theirs.fileno(),), log)
        finally:
            theirs.close()
        _, descriptors, _, _ = socket.recv_fds(ours, 16, 2)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return Namespace(tuple(descriptors))


def namespace_of(pid: int) -> Namespace | None:
    """The namespaces of a running process, for a new agent to start others in them; None if it has ended."""
    own_user = Path("/proc/self/ns/user").stat().st_ino
    descriptors: list[int] = []
    try:
        for kind in ("user", "net"):
            path = f"/proc/{pid}/ns/{kind}"
            if kind == "user" and Path(path).stat().st_ino == own_user:
                continue
            descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        for descriptor in descriptors:
            os.close(descriptor)
        return None
    return Namespace(tuple(descriptors))


def inside(namespace: Namespace) -> tuple[int, ...]:
    """Every process that lives in a network namespace, however it was started."""
    wanted = os.fstat(namespace.descriptors[-1]).st_ino
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "ns" / "net").stat().st_ino == wanted:
                    found.append(int(entry.name))
            except OSError:
                continue
    return tuple(found)
