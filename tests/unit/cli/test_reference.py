from __future__ import annotations

from tests.support.repository import ROOT
from weft.cli.main import VERBS
from weft.cli.reference import page


def test_the_page_is_fresh() -> None:
    """If not: python -m weft.cli.reference > docs/reference/cli.md"""
    assert (ROOT / "docs/reference/cli.md").read_text() == page()


def test_the_page_has_every_verb_and_those_below_them() -> None:
    text = page()
    for names in VERBS.values():
        for name in names:
            assert f"\n### weft {name}\n" in text
    assert "\n### weft proxy status\n" in text
    assert "\n### weft route split\n" in text
