"""Every command of the README's tutorial is run, in order, in one shell, and prints what the README says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS: Final = "127.0.0.1:8080"


def commands(text: str) -> list[tuple[str, str]]:
    """(command, expected output) of each ``$`` line in the console blocks."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def matches(expected: str, actual: str) -> bool:
    """Whether an output is the expected one. ``...`` stands for anything; spaces only separate, as columns differ in width."""
    pattern = ".*".join(re.escape(part) for part in " ".join(expected.split()).split("..."))
    return re.fullmatch(pattern.replace(r"\ .*", ".*").replace(r".*\ ", ".*"), " ".join(actual.split())) is not None


@pytest.fixture
def home() -> Iterator[Path]:
    """A fresh home. Its path is short, because those of unix sockets must be."""
    directory = Path(tempfile.mkdtemp(prefix="weft-tutorial-"))
    environment = environment_of(directory)
    yield directory
    subprocess.run(
        [str(ROOT / ".venv/bin/weft"), "down"], env=environment, check=False, capture_output=True, timeout=60
    )
    shutil.rmtree(directory)


def environment_of(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WEFT_", "XDG_", "COV_"))}
    return kept | {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "TERM": "dumb"}


@pytest.mark.envoy
@pytest.mark.needs("curl")
@pytest.mark.timeout(180)
def test_the_tutorial_prints_what_the_readme_says(home: Path) -> None:
    steps = commands((ROOT / "README.md").read_text())
    assert len(steps) >= 14
    script = []
    for number, (command, _) in enumerate(steps):
        script.append(f"{{ {command.replace(ADDRESS, '127.0.0.1:${port:-8080}')}\n}} > {home}/{number}.out 2>&1")
        # Where 8080 is taken the gateway says which port it has instead.
        script.append(
            f"found=$(sed -n 's/^gateway .*127.0.0.1:\\([0-9]*\\)$/\\1/p' {home}/{number}.out); port=${{found:-$port}}"
        )
    subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=ROOT,
        env=environment_of(home),
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=150,
    )
    wrong = []
    for number, (command, expected) in enumerate(steps):
        actual = re.sub(r"(http://127\.0\.0\.1:)\d+", r"\g<1>8080", (home / f"{number}.out").read_text())
        if not matches(expected, actual):
            wrong.append(f"$ {command}\n--- expected\n{expected}--- printed\n{actual}")
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
