"""Keeping one process alive: start or adopt it, restart it with growing delays, say why it keeps failing, stop it.

Cancelling ``run`` leaves the process running, for the next agent to adopt; ``stop`` ends it. Before a process is started
its mark is on disk, and the mark stands in the environment of everything that the process starts. So an agent that is
killed at any moment leaves nothing that the next one does not find, and nothing outlives the process but by intent.
"""

from __future__ import annotations

import enum
import signal
import time
import uuid
from typing import TYPE_CHECKING, Final

import anyio
import msgspec

from weft.agent import logs, processes, records
from weft.agent.processes import Identity
from weft.latest import Latest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from weft.agent.processes import Launch, Running

FIRST_DELAY_SECONDS: Final = 0.1
LONGEST_DELAY_SECONDS: Final = 30.0
STABLE_SECONDS: Final = 10.0
"""A process that ran this long has recovered: its next failure counts as the first."""

CRASH_LOOP_FAILURES: Final = 3


class ChildState(enum.Enum):
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    """It ended, and will be started again after a delay."""
    CRASH_LOOP = "crash-loop"
    """As waiting, after several failures in a row."""
    STOPPED = "stopped"


class Record(msgspec.Struct, frozen=True):
    """What a new agent must know of a process. Without ``identity`` it was about to be started; ``mark`` finds it."""

    identity: Identity | None
    mark: str
    since: float


class Status(msgspec.Struct, frozen=True):
    """``since`` is the wall clock time of the last change of state, in seconds."""

    state: ChildState = ChildState.STARTING
    pid: int = 0
    since: float = 0.0
    restarts: int = 0
    reason: str = ""


def delay_after(failures: int) -> float:
    """Seconds to wait before the next start, after so many failures in a row (from 1)."""
    return min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 16))


class Child:
    """One supervised process. ``prepare`` says afresh before each start what to run."""

    def __init__(self, record: Path, log: Path, prepare: Callable[[], Awaitable[Launch]]) -> None:
        self._record_path = record
        self._log = log
        self._prepare = prepare
        self._running: Running | None = None
        self._replaced = anyio.Event()
        self._wanted = True
        self._hurry = anyio.Event()
        self._preparing: anyio.CancelScope | None = None
        self._done = anyio.Event()
        self._failures = 0
        self._mark = uuid.uuid4().hex
        self.status = Latest(Status())

    @property
    def pid(self) -> int:
        """The number of the live process, or 0."""
        return self._running.pid if self._running else 0

    @property
    def identity(self) -> Identity | None:
        """The live process for ever; None while there is none."""
        return self._running.identity if self._running else None

    def adopt(self) -> bool:
        """Take over the process of the record, if that very process still runs."""
        record = records.load(self._record_path, Record)
        if record is None:
            return False
        # What the process before left behind bears the mark, also where the process itself has ended.
        self._mark = record.mark
        running = processes.adopt(record.identity) if record.identity else processes.adopt_marked(record.mark)
        if running is None:
            return False
        self._running = running
        if record.identity is None:
            self._write(running.identity, record.since)
        self._say(ChildState.RUNNING, since=record.since)
        return True

    async def run(self) -> None:
        """Keep the process alive until ``stop``."""
        try:
            while self._goes_on():
                started = time.monotonic()
                how = await self._once()
                if not self._goes_on():
                    break
                if time.monotonic() - started > STABLE_SECONDS:
                    self._failures = 0
                self._failures += 1
                await self._wait_before_restart(how)
            await processes.end_marked(self._mark)
        finally:
            if not self._wanted:
                self._forget()
            self._done.set()

    async def _once(self) -> str:
        """Start (unless adopted) and wait for the end; how it ended."""
        if self._running is None:
            self._say(ChildState.STARTING)
            try:
                launch = await self._prepared()
                if launch is None:
                    return "stopped"
                # The one before has ended: so shall whatever it left behind, and may hold its ports.
                await processes.end_marked(self._mark)
                self._write(None, time.time())
                self.take(await processes.start(self.marked(launch)))
                if not self._goes_on():  # stopped while it was being started
                    self.signal(signal.SIGTERM)
            except (processes.StartError, OSError) as error:
                return f"it cannot be started: {error}"
        while True:
            running, replaced = self._running, self._replaced
            assert running is not None  # noqa: S101 - set above, or by take()
            how = await _first(running, replaced)
            if running is self._running:
                self._running = None
                running.close()
                return how
            # A successor took over (hot restart); this one ends on its own.

    async def _prepared(self) -> Launch | None:
        """What to run; None as soon as nothing shall run any more: what a preparation waits for (a proxy that has no
        configuration, files that control writes) may never come.
        """
        with anyio.CancelScope() as scope:
            self._preparing = scope
            launch = await self._prepare()
            return launch if self._goes_on() else None
        return None

    def marked(self, launch: Launch) -> Launch:
        """The same, with the mark by which this process and all that it starts are found again."""
        argv = (*launch.argv, f"{processes.MARK}={self._mark}") if launch.private else launch.argv
        return msgspec.structs.replace(launch, argv=argv, environment=launch.environment | {processes.MARK: self._mark})

    def take(self, running: Running) -> Running | None:
        """Supervise ``running`` from now on. Returns the process before it, whose end the caller must see to."""
        before, self._running = self._running, running
        self._write(running.identity, time.time())
        self._say(ChildState.RUNNING)
        replaced, self._replaced = self._replaced, anyio.Event()
        replaced.set()
        return before

    async def _wait_before_restart(self, how: str) -> None:
        lines = [line for line in logs.last_lines(self._log, 3) if line.strip()]
        reason = "; ".join((how, *lines))[:500]
        looping = self._failures >= CRASH_LOOP_FAILURES
        self._say(
            ChildState.CRASH_LOOP if looping else ChildState.WAITING,
            restarts=self.status.value.restarts + 1,
            reason=reason,
        )
        self._hurry = anyio.Event()
        with anyio.move_on_after(delay_after(self._failures)):
            await self._hurry.wait()

    def _goes_on(self) -> bool:
        return self._wanted

    def signal(self, number: signal.Signals) -> None:
        if self._running:
            self._running.signal(number)

    async def restart(self, grace_seconds: float) -> None:
        """End the process, or its waiting, so that ``run`` starts it again. Returns when the old one is gone."""
        self._failures = 0
        self._hurry.set()
        running, serial = self._running, self.status.serial
        if running is None:
            return
        running.signal(signal.SIGTERM)
        with anyio.move_on_after(grace_seconds):
            while self._running is running:
                serial, _ = await self.status.newer_than(serial)
        if self._running is running:
            running.signal(signal.SIGKILL)

    def not_wanted(self) -> None:
        """From now on the end of the process is final."""
        self._wanted = False
        self._hurry.set()
        if self._preparing:
            self._preparing.cancel()

    async def stop(self, grace_seconds: float) -> None:
        """Ask the process to end, and make it end after the grace. Returns when it is gone. ``run`` must be running."""
        self.not_wanted()
        self.signal(signal.SIGTERM)
        for pid in processes.marked(self._mark):  # and what has left the session
            if pid != self.pid:
                processes.kill(pid, signal.SIGTERM)
        with anyio.move_on_after(grace_seconds):
            await self._done.wait()
        if not self._done.is_set():
            self.signal(signal.SIGKILL)
            await self._done.wait()

    def _forget(self) -> None:
        self._record_path.unlink(missing_ok=True)
        self._say(ChildState.STOPPED)

    def _write(self, identity: Identity | None, since: float) -> None:
        records.save(self._record_path, Record(identity, self._mark, since))

    def _say(
        self, state: ChildState, *, since: float = 0.0, restarts: int | None = None, reason: str | None = None
    ) -> None:
        before = self.status.value
        self.status.set(
            Status(
                state=state,
                pid=self.pid,
                since=since or time.time(),
                restarts=before.restarts if restarts is None else restarts,
                reason=before.reason if reason is None else reason,
            )
        )


async def _first(running: Running, replaced: anyio.Event) -> str:
    """Wait until the process ends or has a successor; how it ended, or nothing."""
    how = ""
    async with anyio.create_task_group() as group:

        async def ended() -> None:
            nonlocal how
            how = await running.wait()
            group.cancel_scope.cancel()

        group.start_soon(ended)
        await replaced.wait()
        group.cancel_scope.cancel()
    return how
