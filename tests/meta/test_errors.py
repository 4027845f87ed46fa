"""Every code has a page, every page a code, and every code is raised somewhere."""

from __future__ import annotations

import re

from tests.support.repository import ROOT, modules, shown
from weft.errors import CODES

PAGES = ROOT / "docs" / "reference" / "errors"


def test_codes_and_pages_are_the_same_set() -> None:
    assert {path.stem for path in PAGES.glob("WFT-*.md")} == set(CODES)


def test_a_page_has_the_title_of_its_code_and_says_what_to_do() -> None:
    wrong: list[str] = []
    for code, title in CODES.items():
        page = PAGES / f"{code}.md"
        text = page.read_text() if page.is_file() else ""
        if text.splitlines()[:1] != [f"# {code}: {title}"] or len(text.split()) < 30 or "```" not in text:
            wrong.append(code)
    assert wrong == [], "a page begins with '# CODE: title', explains itself and shows an example in a code block"


def test_every_code_is_raised_and_only_known_codes_are() -> None:
    used: dict[str, str] = {}
    for path in modules():
        if path.name != "errors.py":
            used |= dict.fromkeys(re.findall(r"WFT-1\d{3}", path.read_text()), shown(path))
    assert {code: place for code, place in used.items() if code not in CODES} == {}
    assert sorted(set(CODES) - set(used)) == []
