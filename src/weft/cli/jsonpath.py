"""The part of kubectl's JSONPath that scripts use: ``{.items[*].metadata.name}``, ``{.a.b[0].c}`` and text between.

Source: Kubernetes' "JSONPath Support" page. Filters, slices, unions, recursion and ``range`` are refused, not
ignored.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from weft.cli.client import Json

_STEP: Final = re.compile(
    r"""
    \.(?P<name>(?:\\.|[A-Za-z0-9_$-])+) | \[(?P<index>-?\d+)\] | \[['"](?P<quoted>[^'"]+)['"]\] | (?P<all>\[\*\]|\.\*)
    """,
    re.VERBOSE,
)

Step = str | int | None
"""A key, an index, or None for everything (``[*]``)."""


def parse(template: str) -> list[str | tuple[Step, ...]]:
    """Text and paths in turn. Raises ValueError with what is wrong and what is understood."""
    if "{" not in template:
        template = "{" + template + "}"
    parts: list[str | tuple[Step, ...]] = []
    for piece in re.split(r"(\{[^}]*\})", template):
        if piece.startswith("{"):
            inside = piece[1:-1].strip()
            literal = re.fullmatch(r"""(['"])(.*)\1""", inside)
            parts.append(literal[2].encode().decode("unicode_escape") if literal else _path(inside))
        elif piece:
            parts.append(piece)
    return parts


def evaluate(template: str, value: Json) -> str:
    """The text that a template makes of a value: matches separated by a space, what is absent left out."""
    return "".join(
        part if isinstance(part, str) else " ".join(_text(found) for found in _select(part, value))
        for part in parse(template)
    )


def _path(text: str) -> tuple[Step, ...]:
    rest = text.removeprefix("$").removeprefix("@")
    if rest in ("", "."):
        return ()
    if not rest.startswith((".", "[")):
        rest = "." + rest
    steps: list[Step] = []
    while rest:
        match = _STEP.match(rest)
        if match is None:
            raise ValueError(f"jsonpath: {rest!r} is not understood; there is .name, [0], [*] and ['name']")
        if match["all"]:
            steps.append(None)
        elif match["index"]:
            steps.append(int(match["index"]))
        else:
            steps.append((match["name"] or match["quoted"]).replace("\\", ""))
        rest = rest[match.end() :]
    return tuple(steps)


def _select(steps: tuple[Step, ...], value: Json) -> list[Json]:
    found = [value]
    for step in steps:
        following: list[Json] = []
        for item in found:
            if step is None and isinstance(item, (list, dict)):
                following.extend(item.values() if isinstance(item, dict) else item)
            elif isinstance(step, str) and isinstance(item, dict):
                following.extend([item[step]] if step in item else [])
            elif isinstance(step, int) and isinstance(item, list):
                following.extend([item[step]] if -len(item) <= step < len(item) else [])
        found = following
    return found


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
