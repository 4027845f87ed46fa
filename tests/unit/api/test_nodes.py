"""Plain data from composed nodes: duplicate keys, aliases, merges, tags, and how deep and how much."""

from __future__ import annotations

import pytest

from weft.api.nodes import MAX_FAULTS, Fault
from weft.api.yaml import parse


def value(text: str) -> object:
    found, faults = parse(text)
    assert faults == ()
    return found


def faults(text: str) -> tuple[Fault, ...]:
    _, found = parse(text)
    assert found
    return found


def fault(text: str) -> Fault:
    (found,) = faults(text)
    return found


def test_keys_are_text_as_typed() -> None:
    assert value("8080: a\ntrue: b\n1.0: c\n'': d") == {"8080": "a", "true": "b", "1.0": "c", "": "d"}


def test_aliases_repeat_their_anchor() -> None:
    assert value("a: &x {p: 1}\nb: *x\nc: [*x, *x]") == {"a": {"p": 1}, "b": {"p": 1}, "c": [{"p": 1}, {"p": 1}]}


def test_a_merge_key_merges_and_what_is_written_wins() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\nd:\n  <<: *a\n"
    assert value(text) == {
        "a": {"x": 1, "y": 1},
        "b": {"y": 2, "z": 2},
        "c": {"z": 3, "x": 1, "y": 1},
        "d": {"x": 1, "y": 1},
    }


def test_a_quoted_merge_key_is_a_key() -> None:
    assert value("'<<': 1") == {"<<": 1}


def test_tags_of_the_core_schema_are_allowed() -> None:
    assert value("a: !!str 12\nb: !!int '12'\nc: !!map {}\nd: !!seq []\ne: ! x") == {
        "a": "12",
        "b": 12,
        "c": {},
        "d": [],
        "e": "x",
    }


def test_every_duplicate_is_reported_up_to_a_bound() -> None:
    assert len(faults("a: 1\n" * 4)) == 3
    assert len(faults("a: 1\n" * 1000)) == MAX_FAULTS


@pytest.mark.parametrize("text", ["a: !!python/object:os.system x", "a: !x [1]", "!!set {a, b}", "a: !!binary aGk="])
def test_other_tags_are_faults(text: str) -> None:
    assert fault(text).code == "WFT-1007"


def test_a_tag_that_does_not_fit_is_a_fault() -> None:
    assert "'x' is no int" in fault("a: !!int x").message


@pytest.mark.parametrize("text", ["? [a]\n: 1", "{{a: b}: c}", "~: 1"])
def test_a_key_that_is_not_text_is_a_fault(text: str) -> None:
    assert fault(text).message == "a key must be text"


def test_merging_what_is_no_mapping_is_a_fault() -> None:
    assert fault("a: {<<: [1]}").code == "WFT-1004"


def test_indentation_and_brackets_count_together() -> None:
    outside = "\n".join(" " * level + "a:" for level in range(30))
    assert value(outside + " " + "[" * 70 + "]" * 70)
    assert fault(outside + " " + "[" * 71 + "]" * 71).code == "WFT-1002"


def test_depth_is_not_hidden_behind_aliases() -> None:
    def chain(first: int, second: int) -> str:
        return f"a: &a {'[' * first}{']' * first}\nb: {'[' * second}*a{']' * second}\n"

    assert value(chain(50, 49))
    assert fault(chain(50, 50)).code == "WFT-1002"
    assert (
        fault("\n".join([chain(40, 1), f"c: &c {'[' * 40}*a{']' * 40}", f"d: {'[' * 40}*c{']' * 40}"])).code
        == "WFT-1002"
    )


def test_aliases_are_limited_by_what_they_stand_for() -> None:
    anchor = "a: &a [" + "x, " * 998 + "x]\n"
    assert value(anchor + "b: [" + "*a, " * 9 + "]")
    assert fault(anchor + "b: [" + "*a, " * 11 + "]").code == "WFT-1003"
