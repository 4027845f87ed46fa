"""Field paths are written as people write them, and read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.api.path import format_path, parse_path


def test_a_path_is_written_with_dots_and_indexes() -> None:
    assert format_path(("spec", "rules", 0, "backendRefs", 1, "port")) == "spec.rules[0].backendRefs[1].port"
    assert format_path(()) == ""


def test_a_key_with_a_dot_is_quoted() -> None:
    assert format_path(("metadata", "labels", "weft.dev/x")) == 'metadata.labels["weft.dev/x"]'
    assert parse_path('metadata.labels["weft.dev/x"]') == ("metadata", "labels", "weft.dev/x")


def test_a_list_at_the_root_is_read() -> None:
    assert parse_path("[0].a") == (0, "a")


@pytest.mark.parametrize(("text", "path"), [("spec..a", ("spec",)), ("spec[x]", ("spec",)), ('a["\\x"]', ("a", "\\x"))])
def test_what_cannot_be_read_ends_the_path(text: str, path: tuple[str, ...]) -> None:
    assert parse_path(text) == path


@given(st.lists(st.one_of(st.text(min_size=1), st.integers(0, 999)), max_size=6).map(tuple))
def test_every_path_is_read_back_as_it_was(path: tuple[str | int, ...]) -> None:
    assert parse_path(format_path(path)) == path
