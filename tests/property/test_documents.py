"""Whatever bytes arrive, reading and decoding answer with values (promises B5, B6, B8, B11).

Source of the properties: the issue's "Documents", and YAML 1.2.2 and RFC 8259 for what plain data means.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml as pyyaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.documents import document, examples
from weft.api.decode import decode, has_errors
from weft.api.document import Document, cut_short, read
from weft.api.path import Path, format_path
from weft.api.yaml import marks, parse, split

if TYPE_CHECKING:
    from weft.errors import Problem

EXAMPLES = examples()
DATA: dict[str, dict[str, object]] = {name: document(text).data for name, text in EXAMPLES.items()}
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "a",
            ": ",
            "- ",
            "\n",
            "---\n",
            "...\n",
            "[",
            "]",
            "{",
            "}",
            ",",
            "&x ",
            "*x",
            "!!str ",
            "? ",
            '"',
            "'",
            "|\n",
            "#",
            " ",
            "\t",
            "<<",
            "%YAML 1.2\n",
            "\0",
            "\r",
            "012",
            "~",
        ]
    ),
    max_size=40,
).map("".join)


def everything(content: bytes) -> tuple[Problem, ...]:
    """All problems of reading and decoding; whatever they are, they can be printed."""
    reading = read(content, "x.yaml")
    problems = [*reading.problems, *(problem for found in reading.documents for problem in decode(found).problems)]
    assert all(str(problem) for problem in problems)
    return tuple(problems)


@given(st.binary(max_size=400))
def test_no_bytes_crash_reading(content: bytes) -> None:
    everything(content)


@given(FRAGMENTS)
def test_no_piece_of_yaml_crashes_reading(text: str) -> None:
    everything(text.encode())


@given(st.text(max_size=200))
def test_the_documents_of_a_text_are_the_whole_text(text: str) -> None:
    found = list(split(text))
    assert "".join(chunk.text for chunk in found) == text
    assert found[0].first_line == 1


@given(PLAIN)
def test_plain_data_written_as_json_is_read_back(data: object) -> None:
    whole = {"a": data}
    for text in (json.dumps(whole), json.dumps(whole, ensure_ascii=False, indent=2)):
        assert parse(text) == (whole, ())


@given(PLAIN)
def test_plain_data_written_as_yaml_is_read_back(data: object) -> None:
    whole = {"a": data}
    assert parse(pyyaml.safe_dump(whole, width=10_000)) == (whole, ())


@given(PLAIN)
def test_every_value_has_a_place_inside_the_text(data: object) -> None:
    text = json.dumps({"a": data}, indent=1)
    lines = text.splitlines()
    for line, column in marks(text).values.values():
        assert 1 <= line <= len(lines)
        assert 1 <= column <= len(lines[line - 1]) + 1


def paths(data: object, path: Path = ()) -> list[Path]:
    """The path of every value in a document."""
    found = [path] if path else []
    if isinstance(data, dict):
        found += [inner for key, value in data.items() for inner in paths(value, (*path, key))]
    elif isinstance(data, list):
        found += [inner for index, value in enumerate(data) for inner in paths(value, (*path, index))]
    return found


def at(data: Any, path: Path) -> Any:  # noqa: ANN401 - plain data
    for step in path:
        data = data[step]
    return data


def in_lines(text: str, problem: Problem) -> bool:
    lines = text.splitlines()
    place = problem.origin
    return 1 <= place.line <= len(lines) and 1 <= place.column <= len(lines[place.line - 1]) + 1


FREE = {
    *("labels", "annotations", "selector", "matchLabels", "env", "services", "external", "versions"),
    *("headers", "portLevelMtls", "providers", "includeAdditionalHeadersInCheck"),
}
"""Mappings whose keys users choose."""


def mappings(name: str) -> list[Path]:
    """The mappings of an example whose fields are fixed."""
    data = DATA[name]
    found = [path for path in paths(data) if isinstance(at(data, path), dict) and path[-1] not in FREE]
    return [(), *found]


@SLOW
@given(st.data())
def test_an_unknown_field_anywhere_in_any_kind_is_an_error_at_its_place(draw: st.DataObject) -> None:
    name = draw.draw(st.sampled_from(sorted(DATA)))
    path = draw.draw(st.sampled_from(mappings(name)))
    field = draw.draw(st.sampled_from(["x", "Name", "nmae", "specz", "x-weft", "a.b"]))
    data = copy.deepcopy(DATA[name])
    at(data, path)[field] = draw.draw(st.sampled_from([None, 1, "a", [], {}]))
    text = json.dumps(data, indent=1)
    problems = everything(text.encode())
    found = [problem for problem in problems if problem.field == format_path((*path, field))]
    assert [problem.code for problem in found] == ["WFT-1102"]
    assert f'"{field}"' in text.splitlines()[found[0].origin.line - 1]


WRONG: tuple[object, ...] = ({"x": [1]}, [[{}]], 1.5, -1, 70_000, True, "\n", "", "no such thing!", "x" * 5000)


@SLOW
@given(st.data())
def test_a_wrong_value_anywhere_in_any_kind_is_an_error_inside_the_document_or_a_value_that_passes(
    draw: st.DataObject,
) -> None:
    name = draw.draw(st.sampled_from(sorted(DATA)))
    path = draw.draw(st.sampled_from(paths(DATA[name])))
    wrong = draw.draw(st.sampled_from(WRONG))
    data = copy.deepcopy(DATA[name])
    at(data, path[:-1])[path[-1]] = wrong
    text = json.dumps(data, indent=1)
    reading = read(text.encode(), "x.json")
    (found,) = reading.documents
    decoded = decode(found)
    assert (decoded.object is None) == has_errors(decoded.problems)
    assert all(in_lines(text, problem) for problem in decoded.problems)
    if isinstance(wrong, (dict, list)) and type(at(DATA[name], path)) is not type(wrong) and path[0] != "status":
        assert decoded.object is None, format_path(path)


@SLOW
@given(st.data())
def test_a_field_that_is_left_out_is_an_error_or_optional(draw: st.DataObject) -> None:
    name = draw.draw(st.sampled_from(sorted(DATA)))
    path = draw.draw(st.sampled_from(paths(DATA[name])))
    data = copy.deepcopy(DATA[name])
    parent = at(data, path[:-1])
    del parent[path[-1]]
    text = json.dumps(data, indent=1)
    reading = read(text.encode(), "x.json")
    decoded = decode(reading.documents[0])
    assert (decoded.object is None) == has_errors(decoded.problems)
    assert all(in_lines(text, problem) for problem in decoded.problems)


@SLOW
@given(st.sampled_from(sorted(EXAMPLES)), st.data())
def test_any_change_of_some_characters_is_read_without_a_crash(name: str, draw: st.DataObject) -> None:
    text = EXAMPLES[name]
    start = draw.draw(st.integers(0, len(text)))
    end = draw.draw(st.integers(start, min(len(text), start + 20)))
    everything((text[:start] + draw.draw(FRAGMENTS) + text[end:]).encode())


def test_a_file_cut_at_any_byte_is_never_taken_for_the_file() -> None:
    whole = "---\n".join(EXAMPLES.values()).encode()
    documents = read(whole, "x.yaml").documents
    for end in range(0, len(whole), 7):
        part = whole[:end]
        assert cut_short(whole, part)
        reading = read(part, "x.yaml")
        assert all(same(first, second) for first, second in zip(documents, reading.documents[:-1], strict=False))


def same(first: Document, second: Document) -> bool:
    return (first.ref, first.data, first.origin) == (second.ref, second.data, second.origin)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_a_document_cut_within_a_line_is_noticed_without_knowing_the_whole(name: str) -> None:
    before = b"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n"
    text = EXAMPLES[name].encode()
    for end in range(1, len(text)):
        part = text[:end]
        assert part.endswith(b"\n") or cut_short(before, part)
