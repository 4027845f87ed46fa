from __future__ import annotations

import sys

import msgspec
import pytest

from weft.cli import say
from weft.errors import Problem, Severity
from weft.values import Origin

PROBLEM = Problem(
    code="WFT-1701", message="weft does not run here", remedy="Start it: weft up -d", origin=Origin("a.sock")
)


def test_a_problem_is_three_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say.problem(PROBLEM)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "error WFT-1701: weft does not run here\n  at   a.sock\n  fix  Start it: weft up -d\n"


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    say.problem(msgspec.structs.replace(PROBLEM, severity=Severity.WARNING))
    assert capsys.readouterr().err.startswith("\x1b[33mwarning\x1b[0m WFT-1701")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    say.warning("careful")
    assert capsys.readouterr().err == "warning: careful\n"


def test_data_ends_with_one_newline(capsys: pytest.CaptureFixture[str]) -> None:
    say.data("a")
    say.data("b\n")
    say.data("")
    assert capsys.readouterr().out == "a\nb\n"
