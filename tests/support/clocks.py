"""A host whose wall clock is off: ``environ`` is for its agent, and so for what that starts.

``clock.c`` is compiled into a library that is preloaded; see there. Envoy starts without an environment, so a script
takes its place that becomes it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.needs import program
from weft.envoy import binary

SOURCE = Path(__file__).with_name("clock.c")


def environ(directory: Path, seconds: int) -> dict[str, str]:
    """The variables with which a host's wall clock is so many seconds ahead; what they name is made in ``directory``."""
    library, envoy = directory / "clock.so", directory / "envoy"
    options = ("-O2", "-Wall", "-Werror", "-shared", "-fPIC")
    command = [str(program("gcc")), *options, "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shifted = {"LD_PRELOAD": str(library), "WALL_CLOCK_SHIFT": str(seconds)}
    words = " ".join(f"{name}='{value}'" for name, value in shifted.items())
    envoy.write_text(f"#!/bin/sh\nexport {words}\nexec '{binary.find(os.environ)}' \"$@\"\n")
    envoy.chmod(0o755)
    return {**shifted, "WEFT_ENVOY": str(envoy)}
