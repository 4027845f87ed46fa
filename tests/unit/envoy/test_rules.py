from __future__ import annotations

from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.envoy import api, rules
from weft.envoy.protos import validate
from weft.envoy.protos.google import protobuf as wkt

Argument: TypeAlias = Any
"""A value for a field of whatever type the rule is about."""

# "in" is a keyword of Python's, so it has no place among the arguments.
IN: Argument = {"in": ["http", "https"]}
ONE_OF_TWO = validate.StringRules(**IN)


def only(option: validate.FieldRules) -> rules.Rule:
    """The one rule of an option."""
    [rule] = rules.compiled(option).rules
    return rule


@pytest.mark.parametrize(
    ("option", "says", "good", "bad"),
    [
        (validate.FieldRules(uint32=validate.UInt32Rules(lte=7)), "be at most 7", [0, 7], [8]),
        (validate.FieldRules(int32=validate.Int32Rules(gte=-1)), "be at least -1", [-1, 0], [-2]),
        (validate.FieldRules(uint64=validate.UInt64Rules(lt=3)), "be less than 3", [2], [3]),
        (validate.FieldRules(int64=validate.Int64Rules(gt=3)), "be greater than 3", [4], [3]),
        (validate.FieldRules(double=validate.DoubleRules(gte=0.5)), "be at least 0.5", [0.5], [0.25]),
        (validate.FieldRules(float=validate.FloatRules(gte=0)), "be at least 0.0", [0.0], [-0.5]),
        (validate.FieldRules(bool=validate.BoolRules(const=True)), "be true", [True], [False]),
        (validate.FieldRules(enum=validate.EnumRules(not_in=[6])), "be none of 6", [5], [6]),
        (validate.FieldRules(bytes=validate.BytesRules(min_len=2)), "have at least 2 bytes", [b"ab"], [b"a"]),
        (validate.FieldRules(bytes=validate.BytesRules(max_len=1)), "have at most 1 byte", [b"a", b""], [b"ab"]),
        (validate.FieldRules(string=validate.StringRules(min_len=1)), "have at least 1 character", ["é"], [""]),
        (validate.FieldRules(string=validate.StringRules(max_len=1)), "have at most 1 character", ["é"], ["ab"]),
        (validate.FieldRules(string=validate.StringRules(max_bytes=1)), "have at most 1 byte", ["a"], ["é"]),
        (validate.FieldRules(string=validate.StringRules(prefix="%")), "begin with %", ["%a"], ["a%", ""]),
        (validate.FieldRules(string=validate.StringRules(suffix="%")), "end with %", ["a%"], ["%a", ""]),
        (validate.FieldRules(string=validate.StringRules(pattern="^a+$")), "match ^a+$", ["aa"], ["ab", "", "a\n"]),
        (
            validate.FieldRules(string=ONE_OF_TWO),
            "be one of http, https",
            ["http"],
            ["ftp"],
        ),
        (validate.FieldRules(repeated=validate.RepeatedRules(min_items=1)), "have at least 1 item", [[1]], [[]]),
        (
            validate.FieldRules(repeated=validate.RepeatedRules(max_items=2)),
            "have at most 2 items",
            [[1, 1]],
            [[1] * 3],
        ),
        (
            validate.FieldRules(repeated=validate.RepeatedRules(unique=True)),
            "not have an item twice",
            [[1, 2]],
            [[1, 1]],
        ),
        (validate.FieldRules(map=validate.MapRules(min_pairs=2)), "have at least 2 entries", [{1: 2, 3: 4}], [{1: 2}]),
    ],
)
def test_each_kind_of_rule_holds_where_it_should(
    option: validate.FieldRules, says: str, good: list[Argument], bad: list[Argument]
) -> None:
    rule = only(option)
    assert rule.says == says
    assert [value for value in good if not rule.holds(value)] == []
    assert [value for value in bad if rule.holds(value)] == []


def test_an_enum_allows_the_numbers_that_it_defines() -> None:
    [rule] = rules.compiled(validate.FieldRules(enum=validate.EnumRules(defined_only=True)), frozenset({0, 2})).rules
    assert rule.name == "enum.defined_only"
    assert rule.holds(2)
    assert not rule.holds(1)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_durations_are_compared_as_the_times_that_they_are(limit: int, milliseconds: int) -> None:
    bounds: list[Argument] = [{name: api.duration(limit)} for name in ("lte", "lt", "gte", "gt")]
    value = api.duration(milliseconds)
    at_most, below, at_least, above = (
        only(validate.FieldRules(duration=validate.DurationRules(**bound))) for bound in bounds
    )
    assert at_most.holds(value) == (milliseconds <= limit)
    assert below.holds(value) == (milliseconds < limit)
    assert at_least.holds(value) == (milliseconds >= limit)
    assert above.holds(value) == (milliseconds > limit)


def test_a_range_whose_ends_are_exchanged_means_what_lies_outside_of_it() -> None:
    """As protoc-gen-validate has it; Envoy's QUIC keep-alive may be zero, or a millisecond and more."""
    zero_or_more = validate.FieldRules(duration=validate.DurationRules(lte=api.duration(0), gte=api.duration(1)))
    rule = only(zero_or_more)
    assert (rule.name, rule.says) == ("duration.range", "be at most 0 s or be at least 0.001 s")
    assert [milliseconds for milliseconds in (0, 1, 5000) if not rule.holds(api.duration(milliseconds))] == []
    assert not rule.holds(wkt.Duration(nanos=500_000))
    number = only(validate.FieldRules(uint32=validate.UInt32Rules(lt=10, gt=20)))
    assert [value for value in (9, 10, 15, 20, 21) if number.holds(value)] == [9, 21]
    with pytest.raises(rules.UnknownRuleError):
        rules.compiled(validate.FieldRules(uint32=validate.UInt32Rules(lt=10, gt=20, not_in=[5])))


def test_a_duration_is_worded_in_seconds() -> None:
    option = validate.FieldRules(duration=validate.DurationRules(gte=api.duration(1), required=True))
    assert only(option).says == "be at least 0.001 s"
    assert rules.compiled(option).required


@pytest.mark.parametrize(
    ("strict", "known", "good", "bad"),
    [
        (True, 1, ["x-a", ":path", "a.b_c~d", "a,b"], ["", "a b", "a\n", "a:b", "é"]),
        (True, 2, ["", "a\tb", "é", "a b"], ["a\nb", "a\x7f", "a\0"]),
        (False, 1, ["", "a b"], ["a\nb", "a\rb", "a\0b"]),
        (False, 2, ["", "a b"], ["a\nb", "a\rb", "a\0b"]),
    ],
)
def test_header_names_and_values(strict: bool, known: Argument, good: list[str], bad: list[str]) -> None:
    rule = only(validate.FieldRules(string=validate.StringRules(well_known_regex=known, strict=strict)))
    assert [text for text in good if not rule.holds(text)] == []
    assert [text for text in bad if rule.holds(text)] == []


def test_strictness_is_the_default() -> None:
    known: Argument = 1
    assert not only(validate.FieldRules(string=validate.StringRules(well_known_regex=known))).holds("a b")


def test_what_is_required_skipped_or_may_be_empty_is_kept_beside_the_rules() -> None:
    assert rules.compiled(validate.FieldRules(message=validate.MessageRules(required=True))).required
    assert rules.compiled(validate.FieldRules(message=validate.MessageRules(skip=True))).skip
    assert rules.compiled(validate.FieldRules(any=validate.AnyRules(required=True))).required
    assert rules.compiled(validate.FieldRules(string=validate.StringRules(min_len=3, ignore_empty=True))).ignore_empty
    assert rules.compiled(validate.FieldRules()) == rules.NO_RULES


def test_items_keys_and_values_have_rules_of_their_own() -> None:
    text = validate.FieldRules(string=validate.StringRules(min_len=1))
    items = rules.compiled(validate.FieldRules(repeated=validate.RepeatedRules(items=text))).items
    both = rules.compiled(validate.FieldRules(map=validate.MapRules(keys=text, values=text)))
    for made in (items, both.keys, both.values):
        assert made is not None
        assert [rule.name for rule in made.rules] == ["string.min_len"]


@pytest.mark.parametrize(
    "option",
    [
        validate.FieldRules(string=validate.StringRules(email=True)),
        validate.FieldRules(timestamp=validate.TimestampRules(lt_now=True)),
        validate.FieldRules(map=validate.MapRules(no_sparse=True)),
    ],
)
def test_a_rule_that_no_file_of_envoy_uses_is_an_error_and_not_passed_over(option: validate.FieldRules) -> None:
    with pytest.raises(rules.UnknownRuleError):
        rules.compiled(option)
