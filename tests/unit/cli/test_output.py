from __future__ import annotations

import json
import sys

import click
import pytest

from weft.cli.output import Column, Format, age, as_yaml, cell, shortened, show, structured, table

ROWS = [{"name": "reviews-v1-0", "state": "serving"}, {"name": "cart", "state": "failing"}]
COLUMNS = (
    Column("NAME", lambda row: row["name"]),
    Column("STATE", lambda row: row["state"]),
    Column("EXTRA", lambda _: "x", wide=True),
)


def test_a_table_is_aligned_and_has_no_trailing_spaces() -> None:
    assert table(ROWS, COLUMNS) == "NAME           STATE\nreviews-v1-0   serving\ncart           failing"


def test_wide_shows_more_columns() -> None:
    assert table(ROWS, COLUMNS, wide=True).splitlines()[0] == "NAME           STATE     EXTRA"


def test_a_table_on_a_terminal_fits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    rows = [{"name": "a", "state": "long " * 30}]
    lines = table(rows, COLUMNS).splitlines()
    assert max(map(len, lines)) == 40
    assert lines[1].endswith("…")


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("AuthorizationPolicy/default/orders", "Author…orders"),
        ("no rule of them holds", "no rule of t…"),
        ("fits", "fits"),
        ("a/b/c/d/e/f/g", "a/b/c/d/e/f/g"),
    ],
)
def test_what_is_cut_keeps_the_name_at_its_end(text: str, short: str) -> None:
    assert shortened(text, 13) == short


def test_a_wide_table_is_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "x" * 60 in table([{"name": "x" * 60, "state": "y"}], COLUMNS, wide=True)


def test_a_piped_table_is_never_cut() -> None:
    assert "y" * 300 in table([{"name": "y" * 300, "state": ""}], COLUMNS)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), ("", "-"), ([], "-"), (0, "0"), (True, "yes"), (["a", 1], "a,1"), ("a\nb", "a b")]
)
def test_a_cell_is_one_line(value: object, text: str) -> None:
    assert cell(value) == text


def test_json_and_yaml_keep_the_order_and_the_letters() -> None:
    value = {"b": "ü", "a": [1]}
    assert json.loads(structured("json", value)) == value
    assert structured("yaml", value) == "b: ü\na:\n- 1\n" == as_yaml(value)
    assert structured("jsonpath={.b}", value) == "ü"


@pytest.mark.parametrize(
    ("form", "text"), [("table", "NAME           STATE\n"), ("name", "reviews-v1-0\ncart\n"), ("json", '{\n  "items"')]
)
def test_each_format_goes_to_stdout(form: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(form, {"items": ROWS}, ROWS, COLUMNS, lambda row: str(row["name"]))
    said = capsys.readouterr()
    assert said.out.startswith(text)
    assert said.err == ""


@pytest.mark.parametrize(
    ("word", "hint"), [("jsno", "did you mean json"), ("xml", "table"), ("jsonpath={range .x}", "not understood")]
)
def test_an_unknown_format_is_answered_with_what_there_is(word: str, hint: str) -> None:
    with pytest.raises(click.BadParameter, match=hint):
        Format().convert(word, None, None)


def test_formats_of_one_verb_are_only_its_own() -> None:
    assert Format(("sarif",)).convert("sarif", None, None) == "sarif"
    assert Format().convert("jsonpath={.a}", None, None) == "jsonpath={.a}"
    with pytest.raises(click.BadParameter):
        Format().convert("sarif", None, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (5.9, "5s"), (60, "1m"), (200, "3m20s"), (660, "11m"), (7200, "2h"), (200_000, "2d")],
)
def test_an_age_is_short(seconds: float, text: str) -> None:
    assert age(seconds) == text
