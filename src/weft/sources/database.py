"""The file under the store: SQLite, one table of changes that only grows, and one of host reports.

What stands now is the newest change of each object, so there is no second table that could disagree. Every commit is
on the disk before it is answered (WAL, ``synchronous=FULL``). The file is checked as a whole when it is opened; a file
that is damaged, foreign or from a newer weft is refused and left untouched, and never taken for an empty one.

Blocking: call from a worker thread. A connection belongs to one call at a time.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from weft import private
from weft.errors import Problem
from weft.sources.lock import UnusableError, unwritable
from weft.sources.records import Change, Record, Verb, Writer
from weft.values import Origin, Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILE: Final = "weft.db"
APPLICATION_ID: Final = 0x77656674
"""Says in the file's header that it is weft's: "weft" in ASCII."""

SCHEMA_VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE changes (
    revision INTEGER PRIMARY KEY, batch INTEGER NOT NULL, time TEXT NOT NULL, owner TEXT NOT NULL, who TEXT NOT NULL,
    verb TEXT NOT NULL, grp TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    document BLOB NOT NULL, managed BLOB NOT NULL, origin BLOB NOT NULL);
CREATE INDEX changes_by_ref ON changes (grp, kind, namespace, name, revision);
CREATE TABLE hosts (host TEXT PRIMARY KEY, report BLOB NOT NULL, heard REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE floor (revision INTEGER NOT NULL);
INSERT INTO floor VALUES (0);
"""
_MARKS: Final = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
_COLUMNS: Final = "revision, batch, time, owner, who, verb, grp, kind, namespace, name, document, managed, origin"


class Place(msgspec.Struct, frozen=True, array_like=True):
    """The column ``origin``: where the last writer had the document."""

    source: str
    line: int
    column: int
    text: str
    first_line: int
    within: tuple[str | int, ...]


class Database:
    """An open database. Methods raise ``sqlite3.Error`` when the disk refuses; a failed transaction leaves no trace."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = _connect(path)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside, or nothing, is on the disk at its end."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def load(self) -> list[Record]:
        """Every object that stands, in no order."""
        query = f"SELECT {_COLUMNS}, max(revision) FROM changes GROUP BY grp, kind, namespace, name"  # noqa: S608 - constants
        return [
            change.record for change in map(_change, self._connection.execute(query)) if change.verb is not Verb.DELETED
        ]

    def revision(self) -> int:
        """The number of the newest change; 0 for none."""
        return int(self._connection.execute("SELECT coalesce(max(revision), 0) FROM changes").fetchone()[0])

    def floor(self) -> int:
        """Changes up to this number may have been forgotten."""
        return int(self._connection.execute("SELECT revision FROM floor").fetchone()[0])

    def append(self, changes: Iterable[Change]) -> None:
        marks = ", ".join("?" * 13)
        self._connection.executemany(f"INSERT INTO changes ({_COLUMNS}) VALUES ({marks})", map(_row, changes))  # noqa: S608 - constants

    def touch(self, record: Record) -> None:
        """Correct what rides beside a document: where it was written, and who set which field."""
        self._connection.execute(
            "UPDATE changes SET managed = ?, origin = ? WHERE revision = ?",
            (record.managed, _place(record), record.revision),
        )

    def changes(
        self, *, after: int = 0, until: int | None = None, ref: Ref | None = None, limit: int = -1
    ) -> list[Change]:
        """Changes with ``after < revision <= until``, oldest first."""
        where, values = "revision > ? AND revision <= ?", [after, until if until is not None else 2**62]
        return self._select(where, values, ref, "revision", limit)

    def newest(self, *, until: int | None = None, ref: Ref | None = None, limit: int = -1) -> list[Change]:
        """Changes up to a number, newest first."""
        return self._select("revision <= ?", [until if until is not None else 2**62], ref, "revision DESC", limit)

    def _select(self, where: str, values: list[Any], ref: Ref | None, order: str, limit: int) -> list[Change]:
        if ref is not None:
            where += " AND grp = ? AND kind = ? AND namespace = ? AND name = ?"
            values = [*values, ref.group, ref.kind, ref.namespace, ref.name]
        query = f"SELECT {_COLUMNS} FROM changes WHERE {where} ORDER BY {order} LIMIT ?"  # noqa: S608 - constants
        return [_change(row) for row in self._connection.execute(query, [*values, limit])]

    def prune(self, floor: int) -> None:
        """Forget changes up to ``floor``, but not what stood then: a rollback to a later number stays possible."""
        self._connection.execute(
            "DELETE FROM changes WHERE revision IN ("
            " SELECT old.revision FROM changes AS old WHERE old.revision <= :floor"
            " AND (old.verb = 'deleted' OR EXISTS (SELECT 1 FROM changes AS later WHERE later.grp = old.grp"
            " AND later.kind = old.kind AND later.namespace = old.namespace AND later.name = old.name"
            " AND later.revision > old.revision AND later.revision <= :floor)))",
            {"floor": floor},
        )
        self._connection.execute("UPDATE floor SET revision = max(revision, ?)", (floor,))

    def hosts(self) -> list[tuple[bytes, float]]:
        """Host reports as JSON, each with the time it was heard (seconds since 1970), sorted by host."""
        return list(self._connection.execute("SELECT report, heard FROM hosts ORDER BY host"))

    def put_host(self, host: str, report: bytes, heard: float) -> None:
        self._connection.execute("INSERT OR REPLACE INTO hosts VALUES (?, ?, ?)", (host, report, heard))

    def delete_host(self, host: str) -> None:
        self._connection.execute("DELETE FROM hosts WHERE host = ?", (host,))


def prepare(directory: Path) -> bool:
    """Create the database when there is none, else check it; True when it was created.

    Raises ``UnusableError``: foreign (WFT-1501), damaged (WFT-1502), unwritable (WFT-1504), too new (WFT-1510).
    """
    path = directory / FILE
    try:
        if path.exists():
            _check(path)
            return False
        if (directory / f"{FILE}-wal").exists():
            raise UnusableError(_damaged(path, "the file is gone but its write-ahead log is still there"))
        _create(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise UnusableError(unwritable(path, error)) from error
        raise UnusableError(_damaged(path, str(error))) from error
    except OSError as error:
        raise UnusableError(unwritable(path, error)) from error
    return True


def _create(path: Path) -> None:
    """A file that has its whole schema or does not exist: an empty file is always damage."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    private.create(fresh, b"")
    with closing(sqlite3.connect(fresh)) as connection:
        connection.executescript(f"BEGIN;{_SCHEMA}{_MARKS}COMMIT;")
    fresh.rename(path)
    private.sync_directory(path.parent)


def _check(path: Path) -> None:
    if path.stat().st_size == 0:
        raise UnusableError(_damaged(path, "the file is empty"))
    with closing(_connect(path)) as connection:
        application = int(connection.execute("PRAGMA application_id").fetchone()[0])
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if application != APPLICATION_ID:
            raise UnusableError(_foreign(path))
        if version > SCHEMA_VERSION:
            raise UnusableError(_too_new(path, version))
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise UnusableError(_damaged(path, "; ".join(" ".join(line.split()) for line in found)))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        # The identity first: a foreign file must not be switched to WAL.
        if int(connection.execute("PRAGMA application_id").fetchone()[0]) == APPLICATION_ID:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _row(change: Change) -> tuple[Any, ...]:
    record, ref, writer = change.record, change.record.ref, change.writer
    who = (change.time, writer.owner, writer.who, change.verb.value)
    name = (ref.group, ref.kind, ref.namespace, ref.name)
    return (change.revision, change.batch, *who, *name, record.document, record.managed, _place(record))


def _change(row: tuple[Any, ...]) -> Change:
    revision, batch, time, owner, who, verb, group, kind, namespace, name, document, managed, place = row[:13]
    at = msgspec.json.decode(place, type=Place)
    record = Record(
        ref=Ref(group, kind, namespace, name),
        document=document,
        origin=Origin(at.source, at.line, at.column),
        revision=revision,
        managed=managed,
        text=at.text,
        first_line=at.first_line,
        within=at.within,
    )
    return Change(revision, batch, time, Writer(owner, who), Verb(verb), record)


def _place(record: Record) -> bytes:
    origin = record.origin
    at = Place(origin.source, origin.line, origin.column, record.text, record.first_line, record.within)
    return msgspec.json.encode(at)


def _foreign(path: Path) -> Problem:
    return Problem(
        code="WFT-1501",
        message="the file is a database of another program",
        remedy="Move it away, or give weft its own directory with WEFT_STATE_DIR; it was not changed",
        origin=Origin(str(path)),
    )


def _damaged(path: Path, what: str) -> Problem:
    return Problem(
        code="WFT-1502",
        message=f"the store is damaged: {what}",
        remedy=f"Restore {path.name} from a backup, or move it and its -wal and -shm files away to start empty",
        origin=Origin(str(path)),
    )


def _too_new(path: Path, version: int) -> Problem:
    return Problem(
        code="WFT-1510",
        message=f"the store has format {version}, and this weft knows formats up to {SCHEMA_VERSION}",
        remedy="Run the newer weft that wrote it; the file was not changed",
        origin=Origin(str(path)),
    )
