"""A program that is missing is never missed in silence: the tests say so, and in CI they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.needs import missing, program
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
import pytest

@pytest.mark.needs("sh", "no-such-program")
def test_with_a_program_that_nobody_has() -> None: ...

@pytest.mark.needs("sh")
def test_with_a_program_that_everybody_has() -> None: ...
"""


def run(folder: Path, ci: str) -> subprocess.CompletedProcess[str]:
    """A suite of two tests under this repository's ``conftest.py``."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    needs(*programs): as in pyproject.toml\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--rootdir", folder, folder],
        cwd=folder,
        env=os.environ | {"CI": ci, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_elsewhere_the_test_is_skipped_and_the_summary_says_so(tmp_path: Path) -> None:
    done = run(tmp_path, ci="")
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped" in done.stdout
    assert "NOT TESTED: programs are missing" in done.stdout
    assert "no-such-program: 1 test(s) skipped" in done.stdout


def test_in_continuous_integration_the_test_fails(tmp_path: Path) -> None:
    done = run(tmp_path, ci="true")
    assert done.returncode == 1, done.stdout
    assert "needs no-such-program; run tools/install-test-tools" in done.stdout


@pytest.mark.parametrize("name", ["sh", "git"])
def test_a_program_that_is_there_is_found(name: str) -> None:
    assert program(name) is not None
    assert missing((name, "no-such-program")) == ["no-such-program"]
