"""Users' regular expressions: RE2, as Envoy, so that what passes here compiles there.

Python's ``re`` is never used for them: it has another syntax and takes exponential time on hostile patterns.

Source: the RE2 syntax page. Envoy refuses a program larger than its runtime key ``re2.max_program_size.error_level``, which
our bootstrap sets; ``MAX_PROGRAM`` is not larger than that, and a test compares the two.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import re2
from pydantic import AfterValidator

from weft.api.base import shown, wrong

MAX_LENGTH: Final = 1024
"""Characters of a pattern. Checked before compiling."""

MAX_PROGRAM: Final = 1_000
"""RE2 instructions of a compiled pattern; roughly one for each letter and each character class."""


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 18
    return options


_OPTIONS: Final = _options()


def check(pattern: str) -> str:
    """The pattern, or a WFT-1107 finding raised. At most a millisecond for any input."""
    if len(pattern) > MAX_LENGTH:
        message = f"the regular expression has {len(pattern):,} characters; the limit is {MAX_LENGTH:,}"
        wrong("WFT-1107", message, "Shorten it; several matches are often clearer than one long pattern")
    try:
        program = re2.compile(pattern, _OPTIONS).programsize
    except re2.error as error:
        reason = (
            error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else str(error)
        )
        message = f"{shown(pattern)} is not a regular expression of RE2: {reason[:100]}"
        wrong("WFT-1107", message, "Use RE2 syntax: no look-around, no back-references")
    if program > MAX_PROGRAM:
        message = f"{shown(pattern)} compiles to {program} instructions; at most {MAX_PROGRAM:,} are allowed"
        wrong("WFT-1107", message, "Use smaller repetitions and fewer alternatives, or several matches")
    return pattern


Regex: TypeAlias = Annotated[str, AfterValidator(check)]
