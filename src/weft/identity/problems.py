"""Problems of identity: one way to make them, and the exception for what keeps the authority from working at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.errors import Problem, Severity
from weft.values import Origin

if TYPE_CHECKING:
    from pathlib import Path


class TrustError(Exception):
    """The authority cannot do what was asked; ``problems`` say why, all of them."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


def problem(code: str, message: str, remedy: str, place: Path | str, field: str = "") -> Problem:
    return Problem(code=code, message=message, remedy=remedy, origin=Origin(str(place)), field=field)


def warning(code: str, message: str, remedy: str, place: Path | str) -> Problem:
    return Problem(code=code, message=message, remedy=remedy, origin=Origin(str(place)), severity=Severity.WARNING)
