from __future__ import annotations

import json

from tests.support.stores import ALICE, BOB, anything, document, record, route, route_ref
from weft.errors import Severity
from weft.sources.records import Reason, Record, Verb, Writer
from weft.sources.writes import Batch, managed_by
from weft.values import Origin, Ref

NOW = "2026-01-01T00:00:00Z"


def batch(live: dict[Ref, Record] | None = None, writer: Writer = ALICE, revision: int = 0) -> Batch:
    return Batch(live or {}, revision=revision, writer=writer, time=NOW, check=anything)


def metadata(made: Record) -> dict[str, object]:
    found = json.loads(made.document)["metadata"]
    assert isinstance(found, dict)
    return found


def test_a_new_object_gets_its_metadata() -> None:
    writes = batch(revision=6)
    made = record(writes.create(route("a", x=1)))
    found = metadata(made)
    assert found.pop("uid")
    assert found == {
        "name": "a",
        "namespace": "default",
        "resourceVersion": "7",
        "generation": 1,
        "creationTimestamp": NOW,
    }
    assert [(each.revision, each.batch, each.verb) for each in writes.changes] == [(7, 7, Verb.CREATED)]


def test_the_generation_counts_changes_of_the_content_and_not_of_labels() -> None:
    writes = batch()
    first = record(writes.apply(route("a", x=1), force=True))
    labelled = json.loads(first.document)
    labelled["metadata"]["labels"] = {"tier": "web"}
    second = record(writes.replace(document(json.dumps(labelled))))
    third = record(writes.apply(route("a", x=2), force=True))
    assert [metadata(each)["generation"] for each in (first, second, third)] == [1, 1, 2]
    assert len({metadata(each)["uid"] for each in (first, second, third)}) == 1


def test_a_write_that_changes_nothing_takes_no_revision() -> None:
    writes = batch()
    first = record(writes.apply(route("a", x=1), force=True))
    again = writes.apply(route("a", x=1), force=True)
    assert (again.verb, again.record) == (Verb.UNCHANGED, first)
    assert len(writes.changes) == 1
    assert writes.touched == {}


def test_a_moved_document_corrects_its_place_without_a_revision() -> None:
    writes = batch()
    writes.apply(route("a", x=1), force=True)
    text = "\n\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\nspec: {x: 1}\n"
    moved = writes.apply(document(text, "other.yaml"), force=True)
    assert moved.verb is Verb.UNCHANGED
    assert len(writes.changes) == 1
    assert writes.touched[route_ref("a")].origin == Origin("other.yaml", 3, 1)


def test_a_stale_version_and_a_foreign_uid_are_refused() -> None:
    live = {route_ref("a"): record(batch().create(route("a", x=1)))}
    for wrong in ({"resourceVersion": "99"}, {"uid": "other"}):
        sent = json.loads(live[route_ref("a")].document)
        sent["metadata"] |= wrong
        outcome = batch(live, BOB, 1).replace(document(json.dumps(sent)))
        assert (outcome.verb, outcome.reason) == (Verb.REFUSED, Reason.CONFLICT)
        assert [problem.code for problem in outcome.problems] == ["WFT-1505"]


def test_a_conflict_is_refused_without_force_and_a_warning_with_it() -> None:
    live = {route_ref("a"): record(batch().apply(route("a", x=1), force=True))}
    refused = batch(live, BOB, 1).apply(route("a", x=2), force=False)
    assert (refused.reason, refused.problems[0].field) == (Reason.CONFLICT, "spec.x")
    forced = batch(live, BOB, 1).apply(route("a", x=2), force=True)
    assert [(problem.code, problem.severity) for problem in forced.problems] == [("WFT-1506", Severity.WARNING)]
    assert {entry.owner: len(entry.fields) for entry in managed_by(record(forced))} == {"alice": 0, "bob": 1}


def test_what_is_checked_is_what_would_stand() -> None:
    live = {route_ref("a"): record(batch().apply(route("a", x=1), force=True))}
    outcome = batch(live, BOB, 1).apply(route("a", bad=True), force=True)
    assert (outcome.verb, outcome.reason) == (Verb.REFUSED, Reason.INVALID)
    assert outcome.problems[0].origin.line == 1


def test_an_object_that_is_there_cannot_be_created_and_one_that_is_not_cannot_be_changed() -> None:
    writes = batch()
    writes.create(route("a"))
    assert writes.create(route("a")).reason is Reason.ALREADY_EXISTS
    assert writes.replace(route("b")).reason is Reason.NOT_FOUND
    assert writes.delete(route_ref("b"), Origin("x")).reason is Reason.NOT_FOUND


def test_a_deletion_takes_a_revision_and_remembers_what_stood() -> None:
    writes = batch()
    made = record(writes.create(route("a", x=1)))
    assert writes.delete(made.ref, Origin("x"), resource_version="7").reason is Reason.CONFLICT
    assert writes.delete(made.ref, Origin("x"), resource_version="1").record == made
    last = writes.changes[-1]
    assert (last.verb, last.revision, metadata(last.record)["resourceVersion"]) == (Verb.DELETED, 2, "2")
    assert writes.get(made.ref) is None


def test_a_withdrawn_object_goes_unless_another_owner_applies_it_too() -> None:
    mine = record(batch().apply(route("a", x=1), force=True))
    both = record(batch({mine.ref: mine}, BOB, 1).apply(route("a", y=2), force=True))
    assert batch({mine.ref: mine}).withdraw(mine).verb is Verb.DELETED
    left = record(batch({mine.ref: both}, ALICE, 2).withdraw(both))
    assert json.loads(left.document)["spec"] == {"y": 2}


def test_what_was_merely_edited_by_others_goes_with_its_applier() -> None:
    mine = record(batch().apply(route("a", x=1), force=True))
    sent = json.loads(mine.document)
    sent["spec"]["y"] = 2
    edited = record(batch({mine.ref: mine}, BOB, 1).replace(document(json.dumps(sent))))
    assert batch({mine.ref: edited}, ALICE, 2).withdraw(edited).verb is Verb.DELETED
