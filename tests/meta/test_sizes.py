"""Small modules and small functions, counted: design.md's sizes, so that nobody has to argue about them."""

from __future__ import annotations

import ast
from statistics import median
from typing import TYPE_CHECKING

from tests.support.repository import ROOT, modules, shown, tracked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MODULE_LINES, MODULE_MEDIAN = 500, 150
FUNCTION_LINES, FUNCTION_MEDIAN = 60, 8


def functions(paths: Iterable[Path]) -> Iterator[tuple[str, int]]:
    """Every function's place and its length in lines, signature and docstring included, decorators not."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{shown(path)}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1


def python_files() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and not path.is_relative_to(ROOT / "docs")]


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_no_module_is_longer_than_the_limit() -> None:
    assert {shown(path): lines(path) for path in python_files() if lines(path) > MODULE_LINES} == {}


def test_the_median_module_is_short() -> None:
    assert median(lines(path) for path in modules()) <= MODULE_MEDIAN


def test_no_function_is_longer_than_the_limit() -> None:
    assert {name: length for name, length in functions(python_files()) if length > FUNCTION_LINES} == {}


def test_the_median_function_is_short() -> None:
    assert median(length for _, length in functions(modules())) <= FUNCTION_MEDIAN
