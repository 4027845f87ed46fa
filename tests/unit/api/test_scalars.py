"""The core schema of YAML 1.2, and what stays as typed."""

from __future__ import annotations

import math

import pytest

from weft.api.scalars import plain, tagged

TAG = "tag:yaml.org,2002:"


@pytest.mark.parametrize(
    "text", ["no", "yes", "on", "off", "y", "22:22", "012", "-012", "0o9", "0b1", "1_000", "1.2.3", "+", "."]
)
def test_these_words_stay_text(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-12", -12),
        ("+7", 7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        (".5", 0.5),
        ("3.", 3.0),
        ("1e3", 1000.0),
        ("-2.5E-1", -0.25),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
    ],
)
def test_these_words_have_a_value(text: str, value: object) -> None:
    assert plain(text) == value
    assert type(plain(text)) is type(value)


def test_nan_is_a_number() -> None:
    value = plain(".nan")
    assert isinstance(value, float)
    assert math.isnan(value)


def test_an_integer_beyond_64_bits_is_a_float_so_that_json_can_carry_it() -> None:
    for text in ("9223372036854775808", "-9223372036854775809", "1" + "0" * 100):
        assert plain(text) == float(text)
        assert isinstance(plain(text), float)
    for text in ("9223372036854775807", "-9223372036854775808"):
        assert plain(text) == int(text)
        assert isinstance(plain(text), int)
    assert plain("0x" + "f" * 16) == "0x" + "f" * 16


def test_a_number_longer_than_any_program_uses_is_text() -> None:
    assert plain("1" * 5000) == "1" * 5000


def test_a_tag_of_the_core_schema_gives_its_type() -> None:
    assert tagged(TAG + "str", "12") == "12"
    assert tagged(TAG + "int", "12") == 12
    assert tagged(TAG + "float", "12") == 12.0
    assert tagged(TAG + "bool", "true") is True
    assert tagged(TAG + "null", "") is None


@pytest.mark.parametrize(
    ("kind", "text"), [("int", "1.5"), ("bool", "1"), ("int", "true"), ("float", "x"), ("null", "0"), ("set", "a")]
)
def test_a_tag_that_does_not_fit_its_text_is_an_error(kind: str, text: str) -> None:
    with pytest.raises(ValueError, match=kind):
        tagged(TAG + kind, text)
