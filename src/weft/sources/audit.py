"""The audit log: who did what, when, from where, and every refusal. It only ever grows, and never holds a secret.

Two ways in. ``record`` is for what somebody does: it returns when the entry is on the disk and raises ``UnusableError``
(WFT-1880) when it cannot be, and then the deed must not be done. ``note`` is for what happens many times, by whoever
likes: refusals. It costs the caller nothing, equal ones of the same moment become one entry with a count, and there are
at most ``BURST`` at once and one per second in the long run, so that no stranger can fill a disk or push others' entries
out; what goes beyond is counted in an entry of its own.

    audit.note(Kind.REFUSAL, who, "GET /weft/v1/tokens", Outcome.REFUSED, where=..., reason="...")
    await audit.record(Kind.AUTHORITY, caller.name, "taint authority 3f..", Outcome.DONE, where=caller.where)
"""

from __future__ import annotations

import enum
import logging
import re
from collections import deque
from datetime import UTC
from typing import TYPE_CHECKING, Final

import anyio
import msgspec
from anyio import to_thread

from weft.errors import Problem
from weft.latest import Latest
from weft.sources.audit_file import AuditFile, Entry, Verified, entries, verify
from weft.sources.lock import UnusableError
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

DIRECTORY: Final = "audit"
"""Below the state directory."""

BURST: Final = 500
PER_SECOND: Final = 1.0
NOTE_SECONDS: Final = 0.5
"""How long notes are gathered."""

MAX_TEXT: Final = 512

_SECRET: Final = re.compile(
    r"weft_[A-Za-z0-9_-]{16,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]+|-----BEGIN [^-]*PRIVATE KEY-----.*|(?i:bearer)\s+\S+",
    re.DOTALL,
)
"""Our tokens, JWTs, private keys and bearer credentials: nobody should hand one in, and none goes through."""

_log = logging.getLogger(__name__)


class Kind(enum.Enum):
    """What an entry is about."""

    CHANGE = "change"
    """An object was created, changed or deleted."""
    REFUSAL = "refusal"
    """A request was refused: 401, 403, or a node that is not who it says."""
    AUTHORITY = "authority"
    """The authority's keys, its states, federation; an SVID that was refused."""
    JOIN = "join"
    BAN = "ban"
    TOKEN = "token"  # noqa: S105 - the name of a kind
    OPERATION = "operation"
    """Another action of an administrator, and the log's own matters."""


class Outcome(enum.Enum):
    ASKED = "asked"
    """It is about to be done; what became of it stands in a later entry."""
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class Audit:
    """The log of one control plane. ``head`` is the number of its newest entry."""

    def __init__(self, file: AuditFile, now: Callable[[], datetime]) -> None:
        self._file = file
        self._now = now
        self._turn = anyio.Lock()
        self._waiting: list[Entry] = []
        self._notes: dict[tuple[object, ...], Entry] = {}
        self._noted = anyio.Event()
        self._broken = False
        self._budget, self._budget_at, self._beyond = float(BURST), now().timestamp(), 0
        self.head: Latest[int] = Latest(file.number)

    @classmethod
    async def open(cls, state: Path, now: Callable[[], datetime]) -> Audit:
        """Raises ``UnusableError`` (WFT-1880, WFT-1881)."""
        directory = state / DIRECTORY
        try:
            file = await to_thread.run_sync(AuditFile, directory)
        except OSError as error:
            raise UnusableError(unwritable(directory, error)) from error
        except msgspec.DecodeError as error:
            raise UnusableError(_damaged(directory)) from error
        made = cls(file, now)
        if file.torn:
            made.note(Kind.OPERATION, "weft", "cut off an entry that a crash left unfinished", Outcome.DONE)
        return made

    @property
    def directory(self) -> Path:
        return self._file.directory

    @property
    def revision(self) -> int:
        """The newest revision of the store that stands in the log."""
        return self._file.revision

    async def record(
        self, kind: Kind, who: str, what: str, outcome: Outcome, *, where: str = "", **detail: str
    ) -> None:
        """Returns when the entry is on the disk. Raises ``UnusableError`` (WFT-1880) when it cannot be."""
        entry = self._entry(kind, who, what, outcome, where, detail)
        self._waiting.append(entry)
        async with self._turn:
            if not any(each is entry for each in self._waiting):
                return  # whoever was before in turn took it along
            try:
                await self._write()
            except UnusableError:
                self._waiting = [each for each in self._waiting if each is not entry]
                raise

    def note(self, kind: Kind, who: str, what: str, outcome: Outcome, *, where: str = "", **detail: str) -> None:
        """Written soon, by ``run``; never waits and never fails."""
        entry = self._entry(kind, who, what, outcome, where, detail)
        key = (entry.kind, entry.who, entry.what, entry.outcome, entry.where, tuple(sorted(entry.detail.items())))
        if key in self._notes:
            first = self._notes[key]
            self._notes[key] = msgspec.structs.replace(first, times=first.times + 1)
        elif self._affordable():
            self._notes[key] = entry
        else:
            self._beyond += 1
        self._noted.set()

    def _affordable(self) -> bool:
        now = self._now().timestamp()
        self._budget = min(BURST, self._budget + max(0.0, now - self._budget_at) * PER_SECOND)
        self._budget_at = now
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    async def ready(self) -> None:
        """Raises ``UnusableError`` when the last entry could not be written and still cannot: nothing may be changed then."""
        if self._broken:
            await self.record(Kind.OPERATION, "weft", "the audit log can be written again", Outcome.DONE)

    async def run(self) -> None:
        """Write notes, until cancelled; what was noted by then is written."""
        try:
            while True:
                await self._noted.wait()
                await anyio.sleep(NOTE_SECONDS)
                await self.flush()
        finally:
            with anyio.CancelScope(shield=True):
                await self.flush()

    async def flush(self) -> None:
        """Write what was noted. When it cannot be, it is kept and tried again with the next."""
        self._noted = anyio.Event()
        async with self._turn:
            taken, self._notes = self._notes, {}
            beyond, self._beyond = self._beyond, 0
            made = list(taken.values())
            if beyond:
                what = "refused requests beyond the limit of what is listed"
                more = self._entry(Kind.REFUSAL, "several", what, Outcome.REFUSED, "", {})
                made.append(msgspec.structs.replace(more, times=beyond))
            self._waiting += made
            if not self._waiting:
                return
            try:
                await self._write()
            except UnusableError as error:
                _log.error("%s", error.problem)
                ours = {id(each) for each in made}
                self._waiting = [each for each in self._waiting if id(each) not in ours]
                self._keep(taken, beyond)

    def _keep(self, taken: dict[tuple[object, ...], Entry], beyond: int) -> None:
        """Notes that could not be written, as many as are kept in memory at all."""
        self._beyond += beyond
        for key, entry in taken.items():
            if len(self._notes) < BURST:
                self._notes.setdefault(key, entry)
            else:
                self._beyond += entry.times

    async def _write(self) -> None:
        """Everything that waits, in one write. The turn is ours."""
        batch = tuple(self._waiting)
        try:
            await to_thread.run_sync(self._file.append, batch)
        except OSError as error:
            self._broken = True
            raise UnusableError(unwritable(self.directory, error)) from error
        self._broken = False
        self._waiting = self._waiting[len(batch) :]
        self.head.set(self._file.number)

    def _entry(self, kind: Kind, who: str, what: str, outcome: Outcome, where: str, detail: Mapping[str, str]) -> Entry:
        return Entry(
            number=0,
            time=self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            kind=kind.value,
            who=clean(who),
            what=clean(what),
            outcome=outcome.value,
            previous="",
            where=clean(where),
            detail={name: clean(value) for name, value in detail.items()},
        )

    async def entries(self, *, after: int = 0, since: str = "", kind: str = "", limit: int = 1000) -> tuple[Entry, ...]:
        """The newest ``limit`` entries, oldest first: with a number above ``after``, a time from ``since`` on (RFC 3339,
        UTC), of one ``kind``.
        """

        def look() -> tuple[Entry, ...]:
            found: deque[Entry] = deque(maxlen=limit)
            for entry in entries(self.directory, after=after):
                if entry.time >= since and kind in ("", entry.kind):
                    found.append(entry)
            return tuple(found)

        return await to_thread.run_sync(look)

    async def verify(self) -> Verified:
        """Look at every line on the disk, and whether it ends where this process wrote last."""
        async with self._turn:
            return await to_thread.run_sync(verify, self.directory, self._file.number, self._file.hash)

    async def close(self) -> None:
        async with self._turn:
            await to_thread.run_sync(self._file.close)


def clean(text: str) -> str:
    """One line of printable text, at most ``MAX_TEXT`` characters, with nothing in it that looks like a secret."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[: 4 * MAX_TEXT])
    return _SECRET.sub("(secret)", shown)[:MAX_TEXT]


def unwritable(directory: Path, error: Exception) -> Problem:
    return Problem(
        code="WFT-1880",
        message=f"the audit log cannot be written: {error}",
        remedy="Make room on the file system, or correct the permissions; nothing is changed before it can be",
        origin=Origin(str(directory)),
    )


def _damaged(directory: Path) -> Problem:
    return Problem(
        code="WFT-1881",
        message="the newest file of the audit log holds something else than entries",
        remedy="Keep it as evidence: move the folder away; a new log begins",
        origin=Origin(str(directory)),
    )
