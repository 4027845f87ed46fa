"""Talk: everything that is not data. It goes to stderr, coloured on terminals unless ``NO_COLOR`` is set."""

from __future__ import annotations

import os
import sys
from typing import IO, Final

from weft.errors import Problem, Severity

RED: Final = "31"
GREEN: Final = "32"
YELLOW: Final = "33"
BOLD: Final = "1"


def colours(stream: IO[str]) -> bool:
    """Whether this stream takes colours. Source: no-color.org; TERM=dumb has none."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: IO[str]) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if colours(stream) else text


def note(text: str) -> None:
    """One line of talk."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is the one place that talks


def problem(found: Problem) -> None:
    """A problem in its three lines, the first word coloured by its severity."""
    colour = RED if found.severity is Severity.ERROR else YELLOW
    word = found.severity.value
    note(paint(word, colour, sys.stderr) + str(found).removeprefix(word))


def warning(text: str) -> None:
    note(f"{paint('warning', YELLOW, sys.stderr)}: {text}")


def data(text: str) -> None:
    """Data, to stdout, at once: a reader may follow."""
    sys.stdout.write(text if text.endswith("\n") or not text else text + "\n")
    sys.stdout.flush()
