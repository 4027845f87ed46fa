"""The shop's demo does what it promises, unattended, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.support.repository import ROOT


@pytest.mark.envoy
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("untraced")
def test_every_step_of_the_demo_does_what_it_promises() -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/01-shop/demo.py")],
        env=kept | {"ONCE": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.strip().splitlines()[-1]
    summary = re.fullmatch(r"All 10 steps .* in (\d+) s; \d+ processes hold (\d+) MB of their own\.", last)
    assert summary is not None, last
    assert int(summary[2]) < 400, "the whole demo stays below 400 MB of private memory"
