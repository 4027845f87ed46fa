from __future__ import annotations

from typing import Any

from weft.sources import merge
from weft.sources.merge import Owned

NOW = "2026-01-01T00:00:00Z"


def leaves(data: dict[str, Any], kind: str = "HTTPRoute") -> merge.Leaves:
    return merge.flatten(kind, data)


def applied(live: dict[str, Any], wanted: dict[str, Any], managed: tuple[Owned, ...], owner: str = "a") -> merge.Merged:
    return merge.apply(leaves(live), leaves(wanted), managed, owner=owner, time=NOW)


def owned(owner: str, data: dict[str, Any], operation: str = "Apply") -> Owned:
    return Owned(owner, operation, NOW, tuple(sorted(leaves(data))))


def test_flattening_and_back_keeps_every_value_but_nulls() -> None:
    data = {"spec": {"a": 1, "b": {"c": []}, "d": {}, "e": [1, {"f": 2}]}}
    assert merge.unflatten(leaves({**data, "gone": None})) == data


def test_ports_of_a_service_are_told_apart_by_number_and_protocol() -> None:
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"port": 80, "name": "http"}]
    data = {"spec": {"ports": ports}}
    flat = leaves(data, "Service")
    assert ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:name") in flat
    assert merge.unflatten(flat) == data


def test_items_that_cannot_be_told_apart_are_one_leaf() -> None:
    for ports in ([{"port": 80}, {"port": 80}], [{"name": "x"}], ["text"]):
        assert leaves({"spec": {"ports": ports}}, "Service") == {("f:spec", "f:ports"): ports}


def test_an_apply_removes_what_its_owner_no_longer_says_and_leaves_what_others_set() -> None:
    live = {"spec": {"mine": 1, "theirs": 2}}
    managed = (owned("a", {"spec": {"mine": 1}}), owned("b", {"spec": {"theirs": 2}}, "Update"))
    merged = applied(live, {"spec": {"new": 3}}, managed)
    assert merge.unflatten(merged.leaves) == {"spec": {"new": 3, "theirs": 2}}
    assert merged.conflicts == ()


def test_a_field_that_two_owners_set_stays_when_one_of_them_leaves_it() -> None:
    live = {"spec": {"x": 1}}
    managed = (owned("a", live), owned("b", live))
    merged = applied(live, {}, managed)
    assert merge.unflatten(merged.leaves) == live
    assert [(entry.owner, entry.fields) for entry in merged.managed] == [("a", ()), ("b", (("f:spec", "f:x"),))]


def test_a_different_value_of_anothers_field_is_a_conflict_and_the_field_changes_hands() -> None:
    live = {"spec": {"x": 1}}
    merged = applied(live, {"spec": {"x": 2}}, (owned("b", live),))
    assert [(merge.field_path(each.path), each.owner) for each in merged.conflicts] == [("spec.x", "b")]
    assert {entry.owner: entry.fields for entry in merged.managed} == {"a": (("f:spec", "f:x"),), "b": ()}


def test_a_scalar_may_become_a_mapping_and_a_mapping_a_scalar() -> None:
    scalar, mapping = {"spec": {"x": 1}}, {"spec": {"x": {"y": 2}}}
    for before, after in ((scalar, mapping), (mapping, scalar)):
        merged = applied(before, after, (owned("a", before),))
        assert merge.unflatten(merged.leaves) == after


def test_an_empty_mapping_does_not_hide_what_others_put_into_it() -> None:
    live = {"spec": {"x": {"y": 2}}}
    merged = applied(live, {"spec": {"x": {}}}, (owned("b", live),))
    assert merge.unflatten(merged.leaves) == live


def test_a_replacement_gives_changed_fields_to_its_writer_and_leaves_the_others() -> None:
    live, wanted = {"spec": {"x": 1, "y": 1, "z": 1}}, {"spec": {"x": 1, "y": 2}}
    merged = merge.replace(leaves(live), leaves(wanted), (owned("a", live),), owner="b", time=NOW)
    assert merge.unflatten(merged.leaves) == wanted
    assert [(entry.owner, entry.operation, entry.fields) for entry in merged.managed] == [
        ("a", "Apply", (("f:spec", "f:x"),)),
        ("b", "Update", (("f:spec", "f:y"),)),
    ]


def test_leaving_keeps_only_what_others_set() -> None:
    live = {"spec": {"x": 1, "y": 2}}
    merged = merge.leave(leaves(live), (owned("a", live), owned("b", {"spec": {"y": 2}})), owner="a")
    assert merge.unflatten(merged.leaves) == {"spec": {"y": 2}}
    assert [entry.owner for entry in merged.managed] == ["b"]


def test_what_only_the_server_says_is_no_wish_of_a_manifest() -> None:
    metadata = {"name": "a", "namespace": "b", "uid": "c", "resourceVersion": "1", "labels": {"x": "y"}}
    data = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {}, "status": {}}
    assert merge.content(data) == {"metadata": {"labels": {"x": "y"}}, "spec": {}}
    assert merge.content({"metadata": {"name": "a"}}) == {}


def test_equal_json_values_are_the_same_and_true_is_not_one() -> None:
    assert merge.same({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert not merge.same(1, True)
