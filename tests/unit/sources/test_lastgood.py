from __future__ import annotations

import pytest

from weft.sources.lastgood import FileState, take

TWO = b"""apiVersion: v1
kind: Namespace
metadata:
  name: one
---
apiVersion: v1
kind: Namespace
metadata:
  name: two
"""
ONE = TWO.partition(b"---")[0]


def after(*steps: tuple[float, bytes | None]) -> FileState | None:
    state: FileState | None = None
    for now, content in steps:
        state = take(state, content, "f.yaml", now=now, quiet=2.0)
    return state


def names(state: FileState | None) -> list[str]:
    return [document.ref.name for document in state.documents if document.ref.name] if state else []


def codes(state: FileState | None) -> list[str]:
    return [problem.code for problem in state.problems] if state else []


def test_a_whole_file_is_believed_at_once() -> None:
    state = after((0, TWO))
    assert (names(state), codes(state)) == (["one", "two"], [])
    assert state is not None
    assert state.certain
    assert not state.waits


@pytest.mark.parametrize("end", range(len(TWO)))
def test_a_cut_at_any_byte_keeps_the_last_good_content(end: int) -> None:
    state = after((0, TWO), (1, TWO[:end]))
    assert names(state) == ["one", "two"]
    assert codes(state) == ["WFT-1516"]


@pytest.mark.parametrize("end", range(len(TWO)))
def test_a_cut_that_stays_is_believed_only_at_the_end_of_a_line_and_never_breaks_an_object(end: int) -> None:
    state = after((0, TWO), (1, TWO[:end]), (4, TWO[:end]))
    assert sorted(names(state)) in (["one", "two"], ["one"])
    if names(state) == ["one"]:
        assert end in (len(ONE), len(ONE) + len("---\n"))


def test_the_end_of_a_file_that_was_removed_on_purpose_is_believed_after_a_while() -> None:
    assert names(after((0, TWO), (1, ONE), (2.9, ONE))) == ["one", "two"]
    assert names(after((0, TWO), (1, ONE), (3, ONE))) == ["one"]


def test_an_emptied_file_keeps_what_it_said_for_ever() -> None:
    for empty in (b"", b"\n\n"):
        assert names(after((0, TWO), (1, empty), (100, empty))) == ["one", "two"]


def test_a_file_that_was_rewritten_between_is_believed_at_once() -> None:
    other = TWO.replace(b"two", b"three")
    assert names(after((0, TWO), (1, TWO[:30]), (1.1, other + b"---\n" + TWO))) == ["one", "three", "two"]


def test_an_object_that_is_no_longer_named_goes_after_a_while() -> None:
    other = TWO.replace(b"two", b"three")
    assert names(after((0, TWO), (1, other), (2.9, other))) == ["one", "two"]
    assert names(after((0, TWO), (1, other), (3, other))) == ["one", "three"]


def test_the_same_content_again_clears_the_problem() -> None:
    state = after((0, TWO), (1, TWO[:30]), (2, TWO))
    assert (names(state), codes(state)) == (["one", "two"], [])


def test_a_file_is_gone_only_when_it_stays_away() -> None:
    assert names(after((0, TWO), (1, None), (2.9, None))) == ["one", "two"]
    assert names(after((0, TWO), (1, None), (2, TWO))) == ["one", "two"]
    assert after((0, TWO), (1, None), (3, None)) is None
    assert after((0, None)) is None


def test_a_file_whose_last_document_is_broken_changes_nothing() -> None:
    broken = TWO.replace(b"name: two", b"name: [two")
    state = after((0, TWO), (1, broken), (100, broken))
    assert names(state) == ["one", "two"]
    assert codes(state) == ["WFT-1004"]


def test_a_broken_document_in_the_middle_takes_nothing_away() -> None:
    state = after((0, TWO), (1, TWO.replace(b"name: one", b"name: [one")))
    assert sorted(names(state)) == ["one", "two"]
    assert codes(state) == ["WFT-1004"]


def test_a_file_that_is_broken_from_the_start_gives_its_good_documents_and_removes_nothing() -> None:
    state = after((0, TWO.replace(b"name: two", b"name: [two")))
    assert names(state) == ["one"]
    assert state is not None
    assert not state.certain
