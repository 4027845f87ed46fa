"""Programs that a test drives and that a machine may lack."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# Debian keeps administrators' programs where an ordinary user's $PATH does not look.
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def program(name: str) -> Path | None:
    """Where a program is, or None."""
    found = shutil.which(name, path=SEARCH)
    return Path(found) if found else None


def missing(programs: tuple[str, ...]) -> list[str]:
    """Those of the programs that this machine lacks."""
    return [name for name in programs if program(name) is None]


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}
