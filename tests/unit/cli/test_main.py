from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from weft.cli import main as module
from weft.cli.main import VERBS, main

if TYPE_CHECKING:
    import click

    from tests.support.weft_cli import Weft

HEAVY = (
    "grpc",
    "pydantic",
    "yaml",
    "rich",
    "httpx2",
    "anyio",
    "starlette",
    "uvicorn",
    "google.protobuf",
    "pyroute2",
    "asyncio",
)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("verb", [name for names in VERBS.values() for name in names])
def test_a_verb_starts_without_loading_anything_heavy(verb: str) -> None:
    """The budget is 150 ms; counting modules does not depend on how busy the machine is."""
    program = (
        "import sys; from weft.cli.main import main; main([sys.argv[1], '--help']);"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), len(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, verb], capture_output=True, text=True, check=True)
    loaded, _, count = done.stderr.rpartition(" ")
    assert loaded == "[]"
    assert int(count) < 260


@pytest.mark.parametrize("verb", [name for names in VERBS.values() for name in names])
def test_every_verb_is_described_in_a_line_that_fits(verb: str) -> None:
    command: click.Command = import_module(f"weft.cli.{verb}").command
    assert command.name == verb
    assert not command.get_short_help_str(66).endswith("..."), command.get_short_help_str(66)


def test_a_misspelt_verb_is_answered_with_the_nearest(weft: Weft) -> None:
    ran = weft("aply")
    assert ran.code == 2
    assert "Did you mean apply" in ran.err
    assert ran.out == ""


def test_a_verb_like_no_other_is_answered_with_help(weft: Weft) -> None:
    assert "weft --help" in weft("zzzzzz").err


def test_a_misspelt_flag_is_answered_with_the_nearest(weft: Weft) -> None:
    ran = weft("apply", "--dry-rum")
    assert ran.code == 2
    assert "--dry-run" in ran.err


def test_help_lists_every_verb_in_80_columns(weft: Weft) -> None:
    ran = weft("--help")
    assert ran.code == 0
    for names in VERBS.values():
        for name in names:
            assert f"\n  {name} " in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80


def test_an_absent_server_is_one_problem_and_exit_code_1(weft: Weft) -> None:
    weft.agent.close()
    ran = weft("ps")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error WFT-1701: weft does not run here\n  at ")


def test_the_directories_are_what_the_options_say(weft: Weft) -> None:
    ran = weft("--runtime-dir", "/nowhere", "ps")
    assert "/nowhere/agent.sock" in ran.err


def test_ctrl_c_is_130(weft: Weft, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.weft, "main", interrupted)
    assert weft("ps").code == 130


def test_a_reader_that_has_had_enough_sees_no_traceback() -> None:
    program = "import sys; from weft.cli.main import main; sys.exit(main(['--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == ""


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("weft ")
