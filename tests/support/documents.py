"""Documents for tests: the examples of the reference, and what reading and decoding say of a text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tests.support.repository import ROOT
from weft.api.decode import Decoded, decode
from weft.api.document import Document, read

if TYPE_CHECKING:
    from weft.api.base import Object
    from weft.errors import Problem

KIND_PAGES: Final = ROOT / "docs" / "reference" / "kinds"


def blocks(text: str, language: str) -> list[str]:
    """The contents of a page's code blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def examples() -> dict[str, str]:
    """The example of each kind's page: a document that uses every field that weft knows."""
    pages = sorted(path for path in KIND_PAGES.glob("*.md") if path.name != "README.md")
    return {page.stem: blocks(page.read_text(), "yaml")[0] for page in pages}


def document(text: str) -> Document:
    """The only document of a text that reads without problems."""
    reading = read(text.encode(), "test.yaml")
    assert reading.problems == ()
    (found,) = reading.documents
    return found


def decoded(text: str) -> Decoded:
    return decode(document(text))


def accepted(text: str) -> Object:
    """The object of a text without any problem."""
    found = decoded(text)
    assert [str(problem) for problem in found.problems] == []
    assert found.object is not None
    return found.object


def refused(text: str) -> tuple[Problem, ...]:
    """The problems of a text that gives no object."""
    found = decoded(text)
    assert found.object is None
    return found.problems


def brief(problems: tuple[Problem, ...]) -> list[tuple[str, str]]:
    """Code and field of each problem."""
    return [(problem.code, problem.field) for problem in problems]
