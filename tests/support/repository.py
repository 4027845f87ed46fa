"""The repository as tests about it see it."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "weft"


def modules() -> list[Path]:
    """Every module of the package that somebody wrote; the generated ones are not in git and not counted."""
    return sorted(path for path in SOURCES.rglob("*.py") if "protos" not in path.relative_to(SOURCES).parts)


def tracked() -> list[Path]:
    """Every file in git, or about to be: the index and what is neither in it nor ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sorted(path for name in set(listing.split("\0")) - {""} if (path := ROOT / name).is_file())


def shown(path: Path) -> str:
    """A path as messages name it."""
    return path.relative_to(ROOT).as_posix()
