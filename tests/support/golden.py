"""Golden files: ``tests/golden/<case>.in.yaml`` goes in, ``tests/golden/<case>.<output>`` must come out.

``pytest --update`` writes what comes out, for a person to read in the diff. An output without its input is an orphan;
``tests/meta/test_golden.py`` refuses those.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "golden"
INPUT: Final = ".in.yaml"


def cases() -> list[str]:
    """The names of all inputs."""
    return sorted(path.name.removesuffix(INPUT) for path in FOLDER.glob(f"*{INPUT}"))


def orphans() -> list[str]:
    """Files in the folder that belong to no input."""
    known = set(cases())
    files = [
        path for path in FOLDER.iterdir() if path.is_file() and path.suffix != ".py" and not path.name.startswith(".")
    ]
    return sorted(path.name for path in files if path.name.partition(".")[0] not in known)


class Golden:
    """What one case shall give. A case's name has no dot."""

    def __init__(self, *, update: bool) -> None:
        self._update = update

    def input(self, case: str) -> bytes:
        return (FOLDER / f"{case}{INPUT}").read_bytes()

    def check(self, case: str, output: str, text: str) -> None:
        """Compare ``text`` with ``<case>.<output>``, or write it there with ``--update``."""
        path = FOLDER / f"{case}.{output}"
        if self._update:
            path.write_text(text)
        assert path.is_file(), f"{path.name} is missing; look at what pytest --update writes"
        assert text == path.read_text(), f"{path.name} differs; if it should, run pytest --update and read the diff"
