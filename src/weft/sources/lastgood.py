"""What one file says, while editors write it: its last good documents stay until what follows can be believed. No I/O.

- A file whose last document is broken, or that cannot be read as a whole, is being written or was cut: nothing changes.
- A file that is merely the beginning of what it was is either cut or had its end removed. It is believed when it has
  not changed for ``quiet`` seconds and ends with a whole line; a cut inside a line, or a blank file, is never believed.
- A file that no longer names an object is believed after ``quiet`` seconds too: an editor that writes in place may not
  have come to that object yet. What is new or changed is believed at once.
- A file that is gone is believed to be gone after ``quiet`` seconds: some editors remove before they write.
- A file with any other problem removes nothing: documents that it no longer names may be the ones that cannot be read.

So a cut at the end of a line that stays for ``quiet`` seconds is the one cut that is taken for an edit; every object in it
is still whole. To remove everything that a file says, delete the file.
"""

from __future__ import annotations

from typing import Final

import msgspec

from weft.api.document import Document, cut_short, read
from weft.errors import Problem, Severity
from weft.values import Origin

QUIET_SECONDS: Final = 1.0


class FileState(msgspec.Struct, frozen=True):
    """``documents`` are what the file contributes. ``certain``: nothing else was in it, so that what it does not name may
    be removed. ``good`` is the content that was believed last; ``seen`` the newest, first seen at ``since``."""

    documents: tuple[Document, ...] = ()
    problems: tuple[Problem, ...] = ()
    certain: bool = False
    good: bytes | None = None
    seen: bytes | None = None
    since: float = 0.0

    @property
    def waits(self) -> bool:
        """Time alone may change what is believed."""
        return self.seen != self.good


def take(before: FileState | None, content: bytes | None, source: str, *, now: float, quiet: float) -> FileState | None:
    """The state after ``content`` was read at ``now`` (None: there is no file). None when the file is gone."""
    state = before if before is not None else FileState(since=now)
    if before is None or content != state.seen:
        state = msgspec.structs.replace(state, seen=content, since=now)
    settled = now - state.since >= quiet
    if content is None:
        return None if settled or state.good is None else state
    if content == state.good:
        reading = read(content, source)
        return msgspec.structs.replace(state, problems=reading.problems)
    cut = state.good is not None and (cut_short(state.good, content) or not content.strip())
    if cut and not (settled and _may_be_meant(content)):
        return msgspec.structs.replace(state, problems=(_cut(source),))
    return _believe(state, content, source, settled=settled)


def _may_be_meant(content: bytes) -> bool:
    return bool(content.strip()) and content.endswith(b"\n")


def _believe(state: FileState, content: bytes, source: str, *, settled: bool) -> FileState:
    reading = read(content, source)
    if reading.unfinished and state.good is not None:
        return msgspec.structs.replace(state, problems=reading.problems)
    documents = reading.documents
    nameless = any(not (document.ref.kind and document.ref.name) for document in documents)
    broken = reading.unfinished or nameless or any(problem.code != "WFT-1110" for problem in reading.problems)
    named = {document.ref for document in documents}
    if not (broken or settled or state.good is None) and any(kept.ref not in named for kept in state.documents):
        return state
    if broken:
        documents = (*documents, *(kept for kept in state.documents if kept.ref not in named))
    return FileState(
        documents=documents,
        problems=reading.problems,
        certain=not broken or state.certain,
        good=None if reading.unfinished else content,
        seen=content,
        since=state.since,
    )


def _cut(source: str) -> Problem:
    return Problem(
        code="WFT-1516",
        message="the file ends before its last good version did; that version stays",
        remedy="Finish writing it, with a line end; to remove all its objects, delete the file",
        origin=Origin(source),
        severity=Severity.WARNING,
    )
