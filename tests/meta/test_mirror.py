"""``src/weft/a/b.py`` is tested by ``tests/unit/a/test_b.py``, and no unit test tests what is not there."""

from __future__ import annotations

from tests.support.repository import ROOT, SOURCES, modules, shown

UNIT = ROOT / "tests" / "unit"
# A package's docstring, and the two lines that start a program whose parts have tests of their own.
WITHOUT_MIRROR = {"__init__.py", "__main__.py"}


def test_every_module_has_its_test_file() -> None:
    wanted = [
        UNIT / path.relative_to(SOURCES).with_name(f"test_{path.name}")
        for path in modules()
        if path.name not in WITHOUT_MIRROR
    ]
    assert [shown(path) for path in wanted if not path.is_file()] == []


def test_every_unit_test_has_its_module() -> None:
    tests = [path for path in sorted(UNIT.rglob("test_*.py")) if not path.is_relative_to(UNIT / "tools")]
    sources = {path: SOURCES / path.relative_to(UNIT).with_name(path.name.removeprefix("test_")) for path in tests}
    assert [shown(test) for test, source in sources.items() if not source.is_file()] == []


def test_modules_without_a_test_file_are_small() -> None:
    long = [path for path in modules() if path.name in WITHOUT_MIRROR and len(path.read_text().splitlines()) > 40]
    assert [shown(path) for path in long] == []
