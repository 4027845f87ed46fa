from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(weft: Weft, shell: str) -> None:
    assert "_WEFT_COMPLETE" in weft("completion", shell).out


def test_another_shell_is_wrong_usage(weft: Weft) -> None:
    assert weft("completion", "tcsh").code == 2


def test_verbs_are_completed() -> None:
    program = "import sys; from weft.cli.main import main; sys.exit(main([]))"
    environment = {**os.environ, "_WEFT_COMPLETE": "bash_complete", "COMP_WORDS": "weft pro", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["plain,proxy"]
