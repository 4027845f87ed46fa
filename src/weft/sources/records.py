"""The values of the store: who writes, what stands, what changed, and what became of a write."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from weft.api.document import Document, stored
from weft.api.path import Path
from weft.errors import Problem
from weft.model.service import HostReport
from weft.model.trust import KeySet, Trust
from weft.values import Origin, Ref

Data: TypeAlias = Mapping[str, Any]
"""The content of one document as plain JSON values. Read only by convention of everybody who holds one."""


class Writer(msgspec.Struct, frozen=True):
    """Who writes. ``owner`` is the field manager on whose behalf fields are set; ``who`` is the person or process."""

    owner: str
    who: str


class Record(msgspec.Struct, frozen=True):
    """One object as it stands.

    ``document`` is canonical JSON (sorted keys) with ``metadata.uid``, ``resourceVersion``, ``generation`` and
    ``creationTimestamp`` filled in; ``managed`` is the JSON of ``tuple[Owned, ...]`` (see ``merge``). An object that
    did not change keeps its ``Record`` object, so identity tells. ``text``, ``first_line`` and ``within`` are what its
    last writer wrote, and where (see ``weft.api.document.Document``), so that a problem found later can name the line.
    """

    ref: Ref
    document: bytes
    origin: Origin
    revision: int
    managed: bytes = b"[]"
    text: str = ""
    first_line: int = 1
    within: Path = ()

    @property
    def as_document(self) -> Document:
        """The document to decode. Fields that another writer set have the place of the nearest parent in the text."""
        found = stored(self.document, self.origin)
        return msgspec.structs.replace(found, text=self.text, first_line=self.first_line, within=self.within)


class Verb(enum.Enum):
    CREATED = "created"
    CONFIGURED = "configured"
    DELETED = "deleted"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class Reason(enum.Enum):
    """Why a write was refused, in the words of Kubernetes' ``Status.reason``."""

    INVALID = "Invalid"
    CONFLICT = "Conflict"
    ALREADY_EXISTS = "AlreadyExists"
    NOT_FOUND = "NotFound"
    EXPIRED = "Expired"
    STORAGE = "InsufficientStorage"


class Outcome(msgspec.Struct, frozen=True):
    """What became of one write. ``record`` is what stands now (for a deletion: what stood), None when refused."""

    ref: Ref
    verb: Verb
    record: Record | None = None
    problems: tuple[Problem, ...] = ()
    reason: Reason | None = None


class Applied(msgspec.Struct, frozen=True):
    """What became of a batch. ``revision`` is the store's revision after it."""

    outcomes: tuple[Outcome, ...]
    revision: int

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(problem for outcome in self.outcomes for problem in outcome.problems)


class Change(msgspec.Struct, frozen=True):
    """One change of one object: who, when and what. ``record`` is what stood after it; for a deletion, before it.

    ``batch`` is the number of the first change that was committed together with this one. ``time`` is RFC 3339, UTC.
    """

    revision: int
    batch: int
    time: str
    writer: Writer
    verb: Verb
    record: Record


class World(msgspec.Struct, frozen=True):
    """Everything that sources know: the only input of the pipeline. ``records`` are sorted by ref, ``hosts`` by name.

    ``synced`` is false until every source has been read once: before that, nothing may be removed from a proxy.
    """

    records: tuple[Record, ...] = ()
    hosts: tuple[HostReport, ...] = ()
    synced: bool = False
    revision: int = 0
    trust: Trust = Trust()
    keys: tuple[KeySet, ...] = ()
    """Fetched JWKS, sorted by URI."""
