"""What must not stand in any file: traces of a machine, promises to do it later; and what must: docstrings."""

from __future__ import annotations

import ast
import re

from tests.support.repository import modules, shown, tracked

TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".sh", ".txt", ".svg", ""}
# Assembled, so that this file does not find itself.
MACHINE = re.compile(
    "|".join(
        [
            "/wo" + r"rk/\w",
            "/ro" + r"ot/\w",
            "/ho" + r"me/(?!(?:user|you|me|ann|alice|bob)\b)\w",
            "/tm" + r"p/v/",
            r"\b/Us" + r"ers/\w",
        ]
    )
)
LATER = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]))


def findings(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{shown(path)}:{number}: {line.strip()[:100]}"
        for path in tracked()
        if path.suffix in TEXT and path.name != "LICENSE"
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    assert findings(MACHINE) == []


def test_nothing_is_left_for_later() -> None:
    assert findings(LATER) == []


def test_every_module_says_what_it_is_for() -> None:
    without = [
        shown(path) for path in modules() if len((ast.get_docstring(ast.parse(path.read_bytes())) or "").split()) < 4
    ]
    assert without == []
