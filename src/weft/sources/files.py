"""A file or a folder of manifests as a source: what stands in it is applied, what leaves it goes away.

The owner is ``file:<path as given>``, one for the whole folder, so that an object may move between its files. The files
win over other writers for every field that they name: they are read again whenever they change. A folder that is gone
as a whole keeps everything (its disk may be gone); a file that was deleted is believed (see ``lastgood``). Files are
looked at when the kernel says that something changed and once a second, because no such word is reliable everywhere.

A Mesh may ``include`` further files, relative to its own and inside the folder (for a single file: its folder).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import watchfiles
from anyio import to_thread

from weft.api.document import MAX_BYTES, Document
from weft.api.include import includes
from weft.api.labels import ends
from weft.errors import Problem, Severity
from weft.sources.lastgood import QUIET_SECONDS, FileState, take
from weft.sources.records import Reason, Writer
from weft.sources.store import utc_now
from weft.values import Origin, Ref

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from weft.sources.store import Store

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
MAX_FILES: Final = 10_000
LOOK_MILLISECONDS: Final = 1_000
SETTLE_MILLISECONDS: Final = 50
"""How long the kernel's word of changes is collected; one save is several events."""


class FileSource:
    """One path that the user gave. Call ``read`` once, then ``watch`` for as long as the control plane runs."""

    def __init__(
        self,
        path: Path,
        store: Store,
        *,
        quiet_seconds: float = QUIET_SECONDS,
        clock: Callable[[], float] = anyio.current_time,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.path: Final = path
        self.owner: Final = f"file:{path}"
        self._store, self._quiet, self._clock, self._now = store, quiet_seconds, clock, now
        self._writer: Final = Writer(self.owner, f"file {path}")
        self._states: dict[Path, FileState] = {}
        self._applied: tuple[tuple[Document, ...], bool] | None = None
        self._ends: tuple[datetime, ...] = ()
        """When documents that were applied end. Then they are applied again, so that it is said of them that they ended."""
        self._found: tuple[Problem, ...] = ()
        self._refused: tuple[Problem, ...] = ()
        store.publisher.expect(self.owner)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong with these files now."""
        return (*self._found, *self._refused)

    async def read(self) -> None:
        """Look at every file, and apply what changed. The first time it counts as read whatever was found."""
        documents, problems, complete = await to_thread.run_sync(self._look, self._clock())
        now = self._now()
        if (documents, complete) != self._applied or any(end <= now for end in self._ends):
            applied = await self._store.apply(self._writer, documents, prune=complete)
            self._refused = applied.problems
            # A full disk: the same again at the next look.
            stored = not any(outcome.reason is Reason.STORAGE for outcome in applied.outcomes)
            self._applied = (documents, complete) if stored else None
            self._ends = tuple(end for each in documents if (end := ends(each.data)) is not None and end > now)
        self._found = problems
        if self.owner in self._store.publisher.waiting:
            self._store.publisher.read(self.owner)

    async def watch(self) -> None:
        """Read again whenever something changed, until cancelled."""
        while True:
            watched = await to_thread.run_sync(self._watched)
            try:
                async for _ in watchfiles.awatch(
                    *watched,
                    watch_filter=None,
                    debounce=SETTLE_MILLISECONDS,
                    step=SETTLE_MILLISECONDS // 2,
                    rust_timeout=LOOK_MILLISECONDS,
                    yield_on_timeout=True,
                    recursive=watched == (self.path,),
                    ignore_permission_denied=True,
                ):
                    await self.read()
                    if await to_thread.run_sync(self._watched) != watched:
                        break
            except OSError:  # a folder that has just gone, or no watches left on this machine: look by the clock
                await anyio.sleep(LOOK_MILLISECONDS / 1000)
                await self.read()

    def _watched(self) -> tuple[Path, ...]:
        """The folders to listen to; the root itself only while it exists."""
        if self.path.is_dir():
            return (self.path,)
        folders = {path.parent for path in (self.path, *self._states)}
        return tuple(sorted(folder for folder in folders if folder.is_dir()))

    def _look(self, now: float) -> tuple[tuple[Document, ...], tuple[Problem, ...], bool]:
        """In a thread: (documents, problems, whether what they do not name may be removed)."""
        problems: list[Problem] = []
        root = self.path.is_dir()
        if (not root and not self.path.parent.is_dir()) or not (root or self.path.exists() or self._states):
            return self._joined([*problems, _absent(self.path)], complete=False)
        if not root and any(path.is_relative_to(self.path) and path != self.path for path in self._states):
            return self._joined([*problems, _absent(self.path)], complete=False)  # a folder that is gone as a whole
        queue, seen = self._listed(problems), set[Path]()
        while queue:
            path = queue.pop(0)
            if path in seen:
                continue
            seen.add(path)
            self._take(path, now, problems)
            if (state := self._states.get(path)) is not None:
                queue += self._included(path, state, problems)
        for path in [known for known in self._states if known not in seen]:
            self._take(path, now, problems)
        return self._joined(problems, complete=not any(problem.code == "WFT-1009" for problem in problems))

    def _listed(self, problems: list[Problem]) -> list[Path]:
        """The files of the folder, sorted; hidden ones are left out."""
        if not self.path.is_dir():
            return [self.path]
        found: list[Path] = []
        for folder, folders, names in os.walk(self.path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [
                Path(folder, name) for name in names if not name.startswith(".") and Path(name).suffix in SUFFIXES
            ]
            if len(found) > MAX_FILES:
                problems.append(_unreadable(self.path, f"more than {MAX_FILES:,} files", "Give a smaller folder"))
                return []
        return sorted(found)

    def _take(self, path: Path, now: float, problems: list[Problem]) -> None:
        """Read one file. One that cannot be read keeps what it said."""
        content: bytes | None = None
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            pass
        except OSError as error:
            problems.append(_unreadable(path, str(error.strerror), "Correct its permissions, or move it away"))
            return
        state = take(self._states.get(path), content, str(path), now=now, quiet=self._quiet)
        if state is None:
            self._states.pop(path, None)
        else:
            self._states[path] = state

    def _included(self, path: Path, state: FileState, problems: list[Problem]) -> list[Path]:
        """The files that a file's Meshes include. A file is read once, however often it is included."""
        root = (self.path if self.path.is_dir() else self.path.parent).resolve()
        found: list[Path] = []
        for document in state.documents:
            for written, field in includes(document):
                target = Path(os.path.normpath(path.parent / written))
                if "\x00" in written or not target.resolve().is_relative_to(root):
                    problems.append(_include(document, written, field, f"is outside of {root.name}"))
                elif not target.is_file() and target not in self._states:
                    problems.append(_include(document, written, field, "is not a file"))
                else:
                    found.append(target)
        return found

    def _joined(
        self, problems: list[Problem], *, complete: bool
    ) -> tuple[tuple[Document, ...], tuple[Problem, ...], bool]:
        """All files together, in the order of their paths. Of an object in two files the first one counts."""
        first: dict[Ref, Document] = {}
        kept: list[Document] = []
        for path in sorted(self._states):
            state = self._states[path]
            problems += state.problems
            complete = complete and state.certain
            for document in state.documents:
                other = first.setdefault(document.ref, document)
                if other is document or not document.ref.name:
                    kept.append(document)
                else:
                    problems.append(_twice(document, other))
        return tuple(kept), tuple(problems), complete


def _absent(path: Path) -> Problem:
    return _unreadable(path, "it does not exist", "Bring it back; until then what it said last stays")


def _unreadable(path: Path, why: str, remedy: str) -> Problem:
    return Problem(
        code="WFT-1009", message=f"{path.name} cannot be read: {why}", remedy=remedy, origin=Origin(str(path))
    )


def _include(document: Document, written: str, field: str, why: str) -> Problem:
    return Problem(
        code="WFT-1517",
        message=f"include {written[:80]!r} {why}",
        remedy="Write a path relative to this file, to a file in the same folder or below it",
        origin=document.place(field),
        ref=document.ref,
        field=field,
    )


def _twice(document: Document, first: Document) -> Problem:
    return Problem(
        code="WFT-1110",
        message=f"{document.ref} is written twice; the first stands at {first.origin}",
        remedy="Keep one of the two",
        origin=document.origin,
        ref=document.ref,
        severity=Severity.ERROR,
    )
