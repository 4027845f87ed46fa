"""YAML and JSON text: the split, the values, the faults and their places, the limits (promise B6)."""

from __future__ import annotations

import time

import pytest

from weft.api import yaml
from weft.api.nodes import MAX_DEPTH, MAX_NODES, Fault
from weft.api.yaml import Chunk, PythonComposer, marks, parse, split


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


def chunks(text: str) -> list[tuple[str, int]]:
    return [(chunk.text, chunk.first_line) for chunk in split(text)]


class TestSplit:
    def test_documents_are_divided_by_three_dashes(self) -> None:
        assert chunks("a: 1\n---\nb: 2\n") == [("a: 1\n", 1), ("---\nb: 2\n", 2)]

    def test_comments_and_directives_belong_to_the_document_after_them(self) -> None:
        assert chunks("# x\n%YAML 1.2\n---\na: 1") == [("# x\n%YAML 1.2\n---\na: 1", 1)]

    def test_three_dots_end_a_document(self) -> None:
        assert chunks("a: 1\n...\n# x\n---\nb: 2") == [("a: 1\n...\n", 1), ("# x\n---\nb: 2", 3)]

    def test_dashes_within_a_line_or_longer_than_three_divide_nothing(self) -> None:
        text = "a: x --- y\n----\nb: 1\n ---\n---x\n"
        assert chunks(text) == [(text, 1)]

    def test_every_line_break_counts_once(self) -> None:
        assert [line for _, line in chunks("a\r\nb\rc\n---\rd\r\n---\n")] == [1, 4, 6]

    def test_a_marker_inside_quotes_still_divides_because_yaml_says_so(self) -> None:
        assert len(chunks('a: "x\n---\ny"')) == 2

    def test_the_parts_are_the_whole(self) -> None:
        text = "a\n---\nb\n...\n...\nc\n---\n"
        assert "".join(chunk.text for chunk in split(text)) == text
        assert isinstance(next(split(text)), Chunk)


class TestValues:
    def test_unquoted_words_follow_the_core_schema_and_quoted_ones_are_text(self) -> None:
        assert value("a: no\nb: 'true'\nc: 012\nd: 22:22\ne: 1\nf: \"1\"\ng: |\n  1\n") == {
            "a": "no",
            "b": "true",
            "c": "012",
            "d": "22:22",
            "e": 1,
            "f": "1",
            "g": "1\n",
        }

    def test_an_empty_document_is_none(self) -> None:
        for text in ("", "# only a comment\n", "---\n", "--- ~\n"):
            assert parse(text) == (None, ())

    def test_json_is_read_with_surrogate_pairs_tabs_and_long_keys(self) -> None:
        key = "k" * 2000
        assert value(f'{{\n\t"a": "\\ud83d\\ude00", "b": [1, 2.5, true, null], "{key}": "\u2028"}}') == {
            "a": "😀",
            "b": [1, 2.5, True, None],
            key: "\u2028",
        }


class TestFaults:
    def test_a_duplicate_key_is_a_fault_with_both_places(self) -> None:
        found = fault("a: 1\nb: 2\n'a': 3\n")
        assert (found.code, found.line, found.column, found.first) == ("WFT-1005", 3, 1, (1, 1))

    def test_a_duplicate_key_in_json_is_a_fault_too(self) -> None:
        assert fault('{"a": 1, "a": 2}').code == "WFT-1005"

    @pytest.mark.parametrize(
        ("text", "remedy"),
        [
            ("a:\n\tb: 1", "spaces"),
            ("a: b: c", "quote"),
            ('a: "b', "Close the quote"),
            ("a: [1, 2", "Close the bracket"),
            ("a: *x", "anchor"),
            ("a: 1\nb", "quote"),
            ("a: @x", "quote"),
            ("[1] [2]", "---"),
            ("{a: 1}\n{b: 2}", "---"),
            ("a: 1\n... x", "---"),
        ],
    )
    def test_broken_text_is_one_fault_with_a_place_and_a_hint(self, text: str, remedy: str) -> None:
        found = fault(text)
        assert found.code == "WFT-1004"
        assert remedy in found.remedy
        assert found.line >= 1
        assert found.column >= 1

    @pytest.mark.parametrize(
        ("text", "place", "word"),
        [
            ("a: 1\nb: \0", (2, 4), "U+0000"),
            ("a: \udcff", (1, 4), "byte 0xff"),
            ("a: \u2028", (1, 4), '"\\u2028"'),
            ("\x07", (1, 1), "U+0007"),
        ],
    )
    def test_a_character_that_yaml_does_not_allow_is_a_fault_at_its_place(
        self, text: str, place: tuple[int, int], word: str
    ) -> None:
        found = fault(text)
        assert (found.code, found.line, found.column) == ("WFT-1006", *place)
        assert word in found.message + found.remedy

    def test_a_lone_surrogate_escape_is_a_fault(self) -> None:
        assert fault('{"a": "\\ud800"}').code == "WFT-1004"

    def test_numbers_that_are_no_json_are_read_as_yaml(self) -> None:
        assert value('{"a": NaN}') == {"a": "NaN"}


BOMBS = {
    "brackets": "[" * 200_000,
    "braces": "{a: " * 100_000,
    "json": '{"a":' * 100_000,
    "dashes": "- " * 100_000,
    "questions": "? " * 100_000,
    "indentation": "\n".join(" " * depth + "a:" for depth in range(3000)),
    "laughs": "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40)),
    "itself": "a: &a [*a, *a]",
    "merges": "a0: &a0 {x: 1}\n"
    + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: 1}}\n" for n in range(1, 2000)),
    "duplicates": "a: 1\n" * 10_000,
    "nul": "a: b\n" * 1000 + "\0",
    "python": "!!python/object/apply:os.system [ls]",
    "anchors": "&a " * 100_000,
    "tags": "!" * 1_000_000,
    "stars": "*" * 1_000_000,
    "quotes": '"' * 99_999,
    "escapes": '"' + "\\" * 99_999,
    "keys": "a: " * 100_000,
    "percent": "%YAML 1.1\n" * 20_000,
    "open flow": "[a, " * 90,
}


class TestLimits:
    @pytest.mark.parametrize("name", BOMBS)
    @pytest.mark.usefixtures("untraced")
    def test_a_bomb_is_a_fault_within_a_fifth_of_a_second_of_cpu(self, name: str) -> None:
        durations = []
        for _ in range(3):
            before = time.process_time()
            found = faults(BOMBS[name])
            durations.append(time.process_time() - before)
        assert min(durations) < 0.2
        assert all(len(each.message) < 300 for each in found)

    @pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
    def test_the_depth_limit_is_exact(self, opening: str, closing: str) -> None:
        assert value(opening * MAX_DEPTH + "1" + closing * MAX_DEPTH)
        assert fault(opening * (MAX_DEPTH + 1) + "1" + closing * (MAX_DEPTH + 1)).code == "WFT-1002"

    def test_the_depth_of_indentation_is_limited_exactly_too(self) -> None:
        def nested(depth: int) -> str:
            return "\n".join(" " * level + "a:" for level in range(depth)) + " 1"

        assert value(nested(MAX_DEPTH))
        assert fault(nested(MAX_DEPTH + 1)).code == "WFT-1002"

    def test_deep_json_is_a_fault_even_when_its_brackets_are_few_per_level(self) -> None:
        assert fault('{"a":' * 101 + "1" + "}" * 101).code == "WFT-1002"

    def test_brackets_in_text_are_not_depth(self) -> None:
        assert value("a: '" + "[" * 5000 + "'") == {"a": "[" * 5000}
        assert value("a: |\n" + " " * 2000 + "x\n") == {"a": "x\n"}

    def test_many_flat_values_are_allowed_up_to_the_limit(self) -> None:
        assert value("[" + "[], " * 500 + "]") == [[]] * 500

    def test_too_many_values_are_a_fault(self) -> None:
        assert fault("- a\n" * (MAX_NODES + 1)).code == "WFT-1001"


class TestMarks:
    def test_keys_and_values_have_places(self) -> None:
        found = marks("a: 1\nb:\n  - x\n  - c: 2\n")
        assert found.key(("a",)) == (1, 1)
        assert found.value(("a",)) == (1, 4)
        assert found.value(("b",)) == (2, 1)
        assert found.value(("b", 1, "c")) == (4, 8)
        assert found.key(("b", 1)) == (4, 5)

    def test_what_is_not_there_has_its_parents_place(self) -> None:
        found = marks("a: {b: 1}")
        assert found.value(("a", "x", 3, "y")) == (1, 4)

    def test_a_merged_field_has_the_place_where_it_was_written(self) -> None:
        found = marks("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2")
        assert found.value(("b", "x")) == (1, 11)
        assert found.value(("b", "y")) == (4, 6)

    def test_a_text_that_cannot_be_composed_has_no_places(self) -> None:
        for text in ("a: [", "\0", "[" * 1000, ""):
            assert marks(text).value(("a",)) is None


class TestComposers:
    @pytest.mark.parametrize(
        "text", ["a: 1\nb: [x, 'y', !!str 2]\nc: &q {d: e}\nf: *q\n", "[1, 2]", "# c\n--- |\n x\n"]
    )
    def test_pythons_composer_gives_the_same_nodes_as_libyamls(self, text: str) -> None:
        (slow, none), (fast, nothing) = yaml._compose(text, PythonComposer), yaml._compose(text)
        assert none == nothing == ()
        assert repr(slow) == repr(fast)

    def test_pythons_composer_reports_broken_text_too(self) -> None:
        node, found = yaml._compose("a: [", PythonComposer)
        assert node is None
        assert [each.code for each in found] == ["WFT-1004"]
