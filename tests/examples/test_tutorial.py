"""Every command of the README's tutorial is run, in order, in one shell, and prints what the README says."""

from __future__ import annotations

import pytest

from tests.support.repository import ROOT
from tests.support.walkthrough import commands, differences, matches

PAGE = ROOT / "README.md"


@pytest.mark.envoy
@pytest.mark.needs("curl")
@pytest.mark.timeout(180)
def test_the_tutorial_prints_what_the_readme_says() -> None:
    assert len(commands(PAGE.read_text())) >= 14
    wrong = differences(PAGE, seconds=150)
    assert wrong == [], "\n\n".join(wrong)


def test_dots_stand_for_anything_and_nothing_else_does() -> None:
    assert matches("a ... c\n", "a b  b\nc\n")
    assert matches("AGE   ...\n", "AGE 12s")
    assert matches("a: ...\nb\n", "a:\nb")
    assert not matches("a\n", "a b")
    assert not matches("a.b\n", "axb")


def test_commands_and_outputs_are_told_apart() -> None:
    text = "```console\n$ one\na\nb\n$ two\n```\n```sh\n$ three\n```\n"
    assert commands(text) == [("one", "a\nb\n"), ("two", "")]
