from __future__ import annotations

import pytest

from weft.cli.jsonpath import evaluate, parse

VALUE = {
    "items": [{"metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}}}, {"metadata": {"name": "b"}}],
    "n": 3,
    "on": True,
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.items[*].metadata.name}", "a b"),
        ("{.items[0].metadata.name}", "a"),
        ("{.items[-1].metadata.name}", "b"),
        ("{.items[5].metadata.name}", ""),
        (".n", "3"),
        ("n", "3"),
        ("{$.on}", "true"),
        ("{@.n}", "3"),
        ("{.nothing.at.all}", ""),
        (r"{.items[0].metadata.labels.app\.kubernetes\.io/name}", None),
        ("{.items[0].metadata.labels['app.kubernetes.io/name']}", "x"),
        ("{.items[1].metadata.*}", "b"),
        ('{.n}{"\\n"}done', "3\ndone"),
        ("n is {.n}, on is {.on}", "n is 3, on is true"),
        ("{.items[1].metadata}", '{"name": "b"}'),
        ("{.n.x}", ""),
    ],
)
def test_what_a_template_makes_of_a_value(template: str, text: str | None) -> None:
    if text is None:
        with pytest.raises(ValueError, match="not understood"):
            evaluate(template, VALUE)
    else:
        assert evaluate(template, VALUE) == text


def test_an_escaped_dot_belongs_to_the_name() -> None:
    assert evaluate(r"{.a\.b}", {"a.b": 1}) == "1"


def test_the_whole_value_is_a_path_too() -> None:
    assert evaluate("{.}", {"a": 1}) == '{"a": 1}'


@pytest.mark.parametrize("template", ["{.items[?(@.x==1)]}", "{range .items[*]}", "{.items[0:2]}", "{..name}"])
def test_what_is_not_supported_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        parse(template)
