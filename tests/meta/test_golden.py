"""Nothing lies in ``tests/golden`` that no test looks at."""

from __future__ import annotations

from tests.support.golden import FOLDER, orphans


def test_there_are_no_orphan_golden_files() -> None:
    assert FOLDER.is_dir()
    assert orphans() == []
