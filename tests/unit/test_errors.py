from __future__ import annotations

import re

import pytest

from weft.errors import CODES, Problem, Severity, nearest
from weft.values import Origin, Ref


def problem(ref: Ref | None = None, field: str = "", severity: Severity = Severity.ERROR) -> Problem:
    return Problem(
        code="WFT-1102",
        message="there is no such field",
        remedy="Remove it.",
        origin=Origin("a.yaml", 2, 3),
        ref=ref,
        field=field,
        severity=severity,
    )


def test_a_problem_says_code_place_and_remedy() -> None:
    text = str(problem(Ref("", "Service", "shop", "pay"), "spec.ports[0]"))
    assert text == (
        "error WFT-1102: there is no such field\n"
        "  at   a.yaml:2:3 (Service shop/pay), field spec.ports[0]\n"
        "  fix  Remove it."
    )


def test_a_problem_of_a_whole_file_names_only_the_file() -> None:
    assert str(problem(severity=Severity.WARNING)).splitlines()[:2] == [
        "warning WFT-1102: there is no such field",
        "  at   a.yaml:2:3",
    ]


def test_problems_are_values() -> None:
    assert problem() == problem()
    assert len({problem(), problem()}) == 1


def test_codes_are_unique_numbers_with_titles() -> None:
    for code, title in CODES.items():
        assert re.fullmatch(r"WFT-1[0-9]\d\d", code), code
        assert title, code
        assert not title.endswith("."), code


@pytest.mark.parametrize(
    ("name", "expected"),
    [("hostnmes", ("hostnames",)), ("HOSTNAMES", ("hostnames",)), ("matches", ("matches",)), ("zzzz", ())],
)
def test_the_nearest_known_name_is_suggested(name: str, expected: tuple[str, ...]) -> None:
    assert nearest(name, ("hostnames", "matches", "backendRefs")) == expected


def test_suggestions_keep_their_spelling_and_their_limit() -> None:
    assert nearest("backendrefs", ["backendRefs"]) == ("backendRefs",)
    assert len(nearest("port1", ["port2", "port3", "port4", "port5"], limit=2)) == 2
