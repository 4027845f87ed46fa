"""Users' patterns: RE2 only, and bounded (promise B3)."""

from __future__ import annotations

import time

import pytest
from pydantic_core import PydanticCustomError

from weft.api.base import FINDINGS, Finding
from weft.api.regex import MAX_LENGTH, MAX_PROGRAM, check
from weft.envoy.check import REGEX_PROGRAM_SIZE

HOSTILE = [
    "(" * 500_000,
    "a" * 1_000_000,
    "((a{1,100}){1,100}){1,100}",
    r"\pN{1000}",
    "[[:alpha:]]{999}" * 50,
    "(?i)" + "[a-z]" * 190,
    r"(a)\1",
    "(?=a)b",
    "*",
    "[z-a]",
    "x{1001}",
    "é" * 1000,
]


def refusal(pattern: str) -> Finding:
    with pytest.raises(PydanticCustomError) as caught:
        check(pattern)
    assert caught.value.context is not None
    (finding,) = caught.value.context[FINDINGS]
    assert isinstance(finding, Finding)
    return finding


@pytest.mark.parametrize("pattern", ["/v[0-9]+/users", "(a+)+b", "", "(?i)abc", r"\d{1,3}(\.\d{1,3}){3}"])
def test_a_pattern_of_re2_passes_unchanged(pattern: str) -> None:
    assert check(pattern) == pattern


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("pattern", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_pattern_is_refused_within_fifty_milliseconds_of_cpu(pattern: str) -> None:
    before = time.process_time()
    finding = refusal(pattern)
    assert time.process_time() - before < 0.05
    assert finding.code == "WFT-1107"
    assert len(finding.message) < 300


@pytest.mark.usefixtures("untraced")
def test_five_hundred_hostile_patterns_are_refused_within_fifty_milliseconds_each() -> None:
    before = time.process_time()
    for index in range(500):
        refusal(f"(x{index}{{1,50}}){{1,19}}")
    assert time.process_time() - before < 0.05 * 500


def test_the_limits_are_exact() -> None:
    assert check("a" * (MAX_PROGRAM - 4))
    assert f"{MAX_PROGRAM + 1} instructions" in refusal("a" * (MAX_PROGRAM - 3)).message
    assert MAX_PROGRAM <= REGEX_PROGRAM_SIZE
    assert "characters" in refusal("a" * (MAX_LENGTH + 1)).message


def test_the_reason_of_re2_is_shown_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert "missing ]" in refusal("[a").message
    assert capfd.readouterr() == ("", "")
