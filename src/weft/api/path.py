"""Field paths: from ``("spec", "rules", 0, "backendRefs")`` to ``spec.rules[0].backendRefs`` and back.

A key that holds a dot, a bracket or nothing is written in brackets and quotes: ``metadata.labels["weft.dev/x"]``.
"""

from __future__ import annotations

import json
import re
from typing import Final, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys of mappings and indexes of lists, from the root of a document."""

_PLAIN: Final = re.compile(r"[^.\[\]\"\s]+")
_STEP: Final = re.compile(r"""\.?(?P<key>[^.\[\]"\s]+)|\[(?P<index>\d{1,9})\]|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]""")


def format_path(path: Path) -> str:
    """The spelling that problems show; empty for the document itself."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN.fullmatch(step):
            parts.append(f".{step}" if parts else step)
        else:
            parts.append(f"[{json.dumps(step, ensure_ascii=False)}]")
    return "".join(parts)


def parse_path(text: str) -> Path:
    """The inverse of ``format_path``.

    What cannot be read ends the path there: the place of a parent is still a place.
    """
    steps: list[str | int] = []
    position = 0
    while position < len(text) and (match := _STEP.match(text, position)):
        position = match.end()
        if (index := match["index"]) is not None:
            steps.append(int(index))
        elif (quoted := match["quoted"]) is not None:
            steps.append(_unquoted(quoted))
        else:
            steps.append(match["key"])
    return tuple(steps)


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]
