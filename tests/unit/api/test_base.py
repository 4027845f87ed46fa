"""The parts of every kind: names, durations, mappings as pairs, refused and carried fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from weft.api import base
from weft.api.base import FINDINGS, Carried, Finding, Many, Model, Named, Refused, Strings, milliseconds, shown, unique

if TYPE_CHECKING:
    from collections.abc import Iterator


class Part(Model):
    first_name: str = ""
    size: int = 0

    def findings(self) -> Iterator[Finding]:
        if self.size > 3:
            yield Finding(code="WFT-1105", message="too big", remedy="Shrink", path=("size",))
        if self.first_name == "x":
            yield Finding(code="WFT-1105", message="no x", remedy="Rename", path=("firstName",))


class Whole(Model):
    parts: Many[Part] = ()
    by_name: Named[str, Part] = ()
    labels: Strings = ()
    kept: Carried = None
    gone: Annotated[None, Refused("it is gone")] = None


def errors(data: object) -> list[dict[str, Any]]:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(data)
    return [dict(error) for error in caught.value.errors()]


def test_lists_are_tuples_and_mappings_sorted_pairs_so_that_models_hash() -> None:
    found = Whole.model_validate({"parts": [{"size": 1}], "byName": {"b": {}, "a": {}}, "labels": {"y": "1", "x": "2"}})
    assert found.parts == (Part.model_validate({"size": 1}),)
    assert [name for name, _ in found.by_name] == ["a", "b"]
    assert found.labels == (("x", "2"), ("y", "1"))
    assert hash(found) == hash(found.model_copy())


def test_nothing_changes_a_model() -> None:
    found = Whole.model_validate({})
    with pytest.raises(ValidationError, match="frozen"):
        found.labels = (("a", "b"),)


def test_a_known_field_that_is_null_is_not_there_and_an_unknown_one_is_refused() -> None:
    assert Whole.model_validate({"parts": None, "labels": None, "gone": None}) == Whole.model_validate({})
    assert [error["type"] for error in errors({"prats": None})] == ["extra_forbidden"]


def test_a_carried_field_takes_anything_and_keeps_nothing() -> None:
    assert Whole.model_validate({"kept": {"a": [1]}}).kept is None


def test_a_refused_field_says_why() -> None:
    (error,) = errors({"gone": {}})
    (finding,) = error["ctx"][FINDINGS]
    assert finding.code == "WFT-1108"
    assert "it is gone" in finding.message


def test_all_findings_of_all_parts_are_reported_together() -> None:
    found = errors({"parts": [{"size": 9, "firstName": "x"}, {"size": "a"}, {"size": 9}], "nope": 1})
    assert [error["loc"] for error in found] == [("parts", 0), ("parts", 1, "size"), ("parts", 2), ("nope",)]
    assert len(found[0]["ctx"][FINDINGS]) == 2


def test_types_are_never_converted() -> None:
    for part in ({"size": "1"}, {"size": 1.0}, {"size": True}, {"firstName": 1}):
        assert len(errors({"parts": [part]})) == 1


def accepts(kind: Any, value: str) -> bool:  # noqa: ANN401 - an annotated type
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (base.Label, ["a", "a-1", "0", "a" * 63], ["", "A", "-a", "a-", "a.b", "a_b", "a" * 64, "a\n"]),
        (
            base.Subdomain,
            ["a", "a.b-c.d", ".".join(["a" * 60] * 4)],
            ["", "a..b", ".a", "a.", "A.b", ".".join(["a" * 63] * 4)],
        ),
        (base.Host, ["example.com", "a1"], ["10.0.0.1", "*.example.com", "ex_ample.com"]),
        (base.WildcardHost, ["example.com", "*.example.com"], ["*", "*.", "a.*.com", "**.com", "*.10.0.0.1"]),
        (base.KindName, ["Service", "a-b"], ["", "1a", "a/b", "a" * 64]),
        (base.Group, ["", "weft.dev"], ["Weft", "a/b"]),
        (base.PortName, ["http", "a", "h2-c"], ["", "80", "-a", "a--b", "HTTP", "a" * 16]),
        (base.HeaderName, ["x-a", "X_b", "a.b"], ["", "a b", "a:b", ":path", "é", "a" * 257]),
        (
            base.Duration,
            ["0s", "10ms", "1h30m5s7ms", "99999s"],
            ["", "1", "1d", "1.5s", "-1s", "100000s", "1s1s1s1s1s", "1 s"],
        ),
        (base.Timestamp, ["2026-11-20T14:00:00Z", "2026-11-20T14:00:00.5+01:00"], ["2026-11-20", "now"]),
    ],
)
def test_names_and_durations_are_checked(kind: object, good: list[str], bad: list[str]) -> None:
    assert [value for value in good if not accepts(kind, value)] == []
    assert [value for value in bad if accepts(kind, value)] == []


def test_a_port_is_a_number_or_a_name() -> None:
    adapter: TypeAdapter[int | str] = TypeAdapter(base.PortNumberOrName)
    assert adapter.validate_python(8080) == 8080
    assert adapter.validate_python("http") == "http"
    values: tuple[object, ...] = (0, 65536, True, 1.5, "80", "Http", None, [])
    for wrong in values:
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


@pytest.mark.parametrize(("text", "expected"), [("0s", 0), ("10ms", 10), ("1m30s", 90_000), ("1h1m1s1ms", 3_661_001)])
def test_a_duration_has_a_length_in_milliseconds(text: str, expected: int) -> None:
    assert milliseconds(text) == expected


@given(st.text())
def test_a_value_is_shown_on_one_short_line(text: str) -> None:
    assert "\n" not in shown(text)
    assert len(shown(text)) <= 61


def test_the_second_of_two_equal_values_is_found_and_none_does_not_count() -> None:
    found = list(unique([((0,), "a"), ((1,), None), ((2,), "a"), ((3,), None), ((4,), "b")], "name"))
    assert [finding.path for finding in found] == [(2,)]
