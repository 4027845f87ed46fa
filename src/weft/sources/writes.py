"""Planning of writes: what a batch would change, before anything is written. No I/O.

A batch sees its own earlier writes. Each change of one object takes the next revision, and an object's
``resourceVersion`` is the revision of its newest change. A write that changes nothing takes none.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from weft.api.document import Document
from weft.errors import Problem, Severity
from weft.sources import merge
from weft.sources.merge import Leaves, Owned, canonical, content, flatten
from weft.sources.records import Change, Outcome, Reason, Record, Verb, Writer

if TYPE_CHECKING:
    from weft.values import Origin, Ref

Check: TypeAlias = Callable[[Document], tuple[Problem, ...]]
"""What is wrong with a document. One with an error is refused; warnings are passed on."""

MAX_TEXT: Final = 64 * 1024
"""Characters of a document's text that are kept for finding places; a longer one has the document's place only."""


def managed_by(record: Record) -> tuple[Owned, ...]:
    return msgspec.json.decode(record.managed, type=tuple[Owned, ...])


class Batch:
    """Writes of one writer that will be committed together. ``time`` is RFC 3339, UTC."""

    def __init__(self, live: Mapping[Ref, Record], *, revision: int, writer: Writer, time: str, check: Check) -> None:
        self._live = live
        self._new: dict[Ref, Record | None] = {}
        self._first = revision + 1
        self._writer = writer
        self._time = time
        self._check = check
        self.changes: list[Change] = []
        self.touched: dict[Ref, Record] = {}

    def get(self, ref: Ref) -> Record | None:
        return self._new[ref] if ref in self._new else self._live.get(ref)

    def apply(self, document: Document, *, force: bool) -> Outcome:
        """Declarative: see ``merge``. With ``force`` the fields of others are taken over, and a warning says so."""
        ref, live = document.ref, self.get(document.ref)
        wanted = flatten(ref.kind, content(document.data))
        before, managed = (_leaves(live), managed_by(live)) if live else ({}, ())
        merged = merge.apply(before, wanted, managed, owner=self._writer.owner, time=self._time)
        clashes = _clashes(document, merged.conflicts, force=force)
        if clashes and not force:
            return Outcome(ref, Verb.REFUSED, None, clashes, Reason.CONFLICT)
        return self._store(document, merged.leaves, merged.managed, clashes)

    def create(self, document: Document) -> Outcome:
        if self.get(document.ref) is not None:
            return Outcome(document.ref, Verb.REFUSED, None, (_exists(document),), Reason.ALREADY_EXISTS)
        return self._replace(document, {}, ())

    def replace(self, document: Document) -> Outcome:
        """The whole object. A ``metadata.resourceVersion`` or ``uid`` that is not the newest refuses it."""
        live = self.get(document.ref)
        if live is None:
            return Outcome(
                document.ref, Verb.REFUSED, None, (missing(document.ref, document.origin),), Reason.NOT_FOUND
            )
        metadata = document.data.get("metadata")
        said = metadata if isinstance(metadata, Mapping) else {}
        if stale := _stale(live, said.get("resourceVersion"), said.get("uid"), document.origin):
            return Outcome(document.ref, Verb.REFUSED, None, (stale,), Reason.CONFLICT)
        return self._replace(document, _leaves(live), managed_by(live))

    def _replace(self, document: Document, before: Leaves, managed: tuple[Owned, ...]) -> Outcome:
        wanted = flatten(document.ref.kind, content(document.data))
        merged = merge.replace(before, wanted, managed, owner=self._writer.owner, time=self._time)
        return self._store(document, merged.leaves, merged.managed, ())

    def delete(
        self, ref: Ref, origin: Origin, *, resource_version: str | None = None, uid: str | None = None
    ) -> Outcome:
        live = self.get(ref)
        if live is None:
            return Outcome(ref, Verb.REFUSED, None, (missing(ref, origin),), Reason.NOT_FOUND)
        if stale := _stale(live, resource_version, uid, origin):
            return Outcome(ref, Verb.REFUSED, None, (stale,), Reason.CONFLICT)
        return self._delete(live)

    def _delete(self, live: Record) -> Outcome:
        self._new[live.ref] = None
        self.touched.pop(live.ref, None)
        last = msgspec.structs.replace(live, revision=self._next())
        self._change(Verb.DELETED, msgspec.structs.replace(last, document=_with_version(live, last.revision)))
        return Outcome(live.ref, Verb.DELETED, live)

    def withdraw(self, live: Record) -> Outcome:
        """The owner no longer speaks of an object that it applied: gone, unless another owner applies it too."""
        merged = merge.leave(_leaves(live), managed_by(live), owner=self._writer.owner)
        if not any(entry.operation == "Apply" for entry in merged.managed):
            return self._delete(live)
        return self._store(live.as_document, merged.leaves, merged.managed, ())

    def restore(self, ref: Ref, then: Record | None) -> Outcome:
        """Make an object what it was, or gone where it was not."""
        live = self.get(ref)
        if then is None:
            return self._delete(live) if live else Outcome(ref, Verb.UNCHANGED)
        return self._store(then.as_document, _leaves(then), managed_by(then), ())

    def _store(
        self, document: Document, leaves: Leaves, managed: tuple[Owned, ...], notes: tuple[Problem, ...]
    ) -> Outcome:
        ref, live, plain = document.ref, self.get(document.ref), merge.unflatten(leaves)
        # Checked as it will stand: what two owners wrote may be wrong only together.
        problems = (*notes, *self._check(msgspec.structs.replace(document, data=_shown(document, plain))))
        if any(problem.severity is Severity.ERROR for problem in problems):
            return Outcome(ref, Verb.REFUSED, None, problems, Reason.INVALID)
        old = msgspec.json.decode(live.document) if live else {}
        api_version = document.data.get("apiVersion")
        if live and api_version == old.get("apiVersion") and canonical(plain) == canonical(content(old)):
            return self._touch(live, document, managed, problems)
        record = self._record(document, plain, old, managed)
        self._new[ref] = record
        self.touched.pop(ref, None)
        verb = Verb.CONFIGURED if live else Verb.CREATED
        self._change(verb, record)
        return Outcome(ref, verb, record, problems)

    def _record(
        self, document: Document, plain: dict[str, Any], old: dict[str, Any], managed: tuple[Owned, ...]
    ) -> Record:
        revision = self._next()
        metadata = {
            **plain.get("metadata", {}),
            **_name(document.ref),
            **_identity(old, plain, self._time),
            "resourceVersion": str(revision),
        }
        whole = {
            **plain,
            "apiVersion": document.data.get("apiVersion"),
            "kind": document.ref.kind,
            "metadata": metadata,
        }
        return _placed(document, canonical(whole), revision, _settled(managed, ()))

    def _touch(
        self, live: Record, document: Document, managed: tuple[Owned, ...], problems: tuple[Problem, ...]
    ) -> Outcome:
        """Nothing changed. Who set it, and where it stands in the file, may have: that takes no revision."""
        record = _placed(document, live.document, live.revision, _settled(managed, managed_by(live)))
        if record != live:
            self._new[live.ref] = self.touched[live.ref] = record
        return Outcome(live.ref, Verb.UNCHANGED, record, problems)

    def _next(self) -> int:
        return self._first + len(self.changes)

    def _change(self, verb: Verb, record: Record) -> None:
        self.changes.append(Change(record.revision, self._first, self._time, self._writer, verb, record))


def _leaves(record: Record) -> Leaves:
    return flatten(record.ref.kind, content(msgspec.json.decode(record.document)))


def _shown(document: Document, plain: dict[str, Any]) -> dict[str, object]:
    """What is checked: the merged content with the names as they were written."""
    metadata = document.data.get("metadata")
    named = {**metadata, **plain.get("metadata", {})} if isinstance(metadata, Mapping) else metadata
    if isinstance(named, dict) and isinstance(metadata, Mapping):
        hidden = merge.SERVER_FIELDS | (set(metadata) - set(plain.get("metadata", {})) - {"name", "namespace"})
        named = {key: value for key, value in named.items() if key not in hidden}
        named |= {key: value for key, value in _name(document.ref).items() if value}
    top: dict[str, object] = {key: document.data[key] for key in ("apiVersion", "kind") if key in document.data}
    return {**top, **({"metadata": named} if "metadata" in document.data else {}), **_without_metadata(plain)}


def _without_metadata(plain: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plain.items() if key != "metadata"}


def _name(ref: Ref) -> dict[str, str]:
    return {"name": ref.name, "namespace": ref.namespace} if ref.namespace else {"name": ref.name}


def _identity(old: dict[str, Any], plain: dict[str, Any], time: str) -> dict[str, Any]:
    if not old:
        return {"uid": str(uuid.uuid4()), "creationTimestamp": time, "generation": 1}
    before = old["metadata"]
    changed = canonical(_without_metadata(plain)) != canonical(_without_metadata(content(old)))
    kept = {key: before[key] for key in ("uid", "creationTimestamp")}
    return {**kept, "generation": before["generation"] + changed}


def _with_version(record: Record, revision: int) -> bytes:
    """The last state of a deleted object carries the revision of the deletion, so that a watch can go on from there."""
    whole = msgspec.json.decode(record.document)
    whole["metadata"]["resourceVersion"] = str(revision)
    return canonical(whole)


def _placed(document: Document, content_bytes: bytes, revision: int, managed: tuple[Owned, ...]) -> Record:
    keep = len(document.text) <= MAX_TEXT
    return Record(
        ref=document.ref,
        document=content_bytes,
        origin=document.origin,
        revision=revision,
        managed=msgspec.json.encode(managed),
        text=document.text if keep else "",
        first_line=document.first_line if keep else 1,
        within=document.within if keep else (),
    )


def _settled(managed: tuple[Owned, ...], before: tuple[Owned, ...]) -> tuple[Owned, ...]:
    """An owner whose fields stayed keeps the time at which it set them."""
    known = {(entry.owner, entry.operation, entry.fields): entry for entry in before}
    return tuple(known.get((entry.owner, entry.operation, entry.fields), entry) for entry in managed)


def _stale(live: Record, resource_version: object, uid: object, origin: Origin) -> Problem | None:
    if resource_version not in (None, "", str(live.revision)):
        message = f"{live.ref} has changed: it is at resourceVersion {live.revision}, not {resource_version}"
    elif uid not in (None, "", msgspec.json.decode(live.document)["metadata"]["uid"]):
        message = f"{live.ref} was deleted and made anew since it was read: its uid differs"
    else:
        return None
    remedy = "Read it again, make the change there, and send that"
    return Problem(code="WFT-1505", message=message, remedy=remedy, origin=origin, ref=live.ref)


def _clashes(document: Document, conflicts: tuple[merge.Conflict, ...], *, force: bool) -> tuple[Problem, ...]:
    places = document.places() if conflicts else None
    return tuple(
        Problem(
            code="WFT-1506",
            message=f"{merge.field_path(conflict.path)} was set to another value by {conflict.owner}"
            + (", and is taken over" if force else ""),
            remedy=f"Nothing, if this is meant; else remove the field here, or change it where {conflict.owner} sets it"
            if force
            else "Remove the field here, or force the apply to take it over",
            origin=places.of(merge.field_path(conflict.path)) if places else document.origin,
            ref=document.ref,
            field=merge.field_path(conflict.path),
            severity=Severity.WARNING if force else Severity.ERROR,
        )
        for conflict in conflicts
    )


def _exists(document: Document) -> Problem:
    remedy = "Apply it, or replace it with PUT"
    message = f"{document.ref} exists already"
    return Problem(code="WFT-1507", message=message, remedy=remedy, origin=document.origin, ref=document.ref)


def missing(ref: Ref, origin: Origin) -> Problem:
    message, remedy = f"there is no {ref}", f"Look at the names with: weft get {ref.kind.lower()}"
    return Problem(code="WFT-1508", message=message, remedy=remedy, origin=origin, ref=ref)
