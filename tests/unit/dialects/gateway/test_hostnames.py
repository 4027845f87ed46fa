from __future__ import annotations

import pytest

from weft.dialects.gateway.hostnames import covers, intersect, specificity


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("", "a.example.com", True),
        ("", "", True),
        ("a.example.com", "", False),
        ("*.example.com", "", False),
        ("a.example.com", "a.example.com", True),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("*.example.com", "*.example.com", True),
        ("*.example.com", "*.a.example.com", True),
        ("*.a.example.com", "*.example.com", False),
        ("a.example.com", "*.example.com", False),
    ],
)
def test_a_name_covers_what_it_stands_for(pattern: str, host: str, expected: bool) -> None:
    assert covers(pattern, host) is expected


def test_two_names_meet_in_the_narrower_one() -> None:
    assert intersect("*.example.com", "a.example.com") == "a.example.com"
    assert intersect("a.example.com", "*.example.com") == "a.example.com"
    assert intersect("", "a.example.com") == "a.example.com"
    assert intersect("*.com", "*.org") is None


def test_exact_names_are_more_specific_than_wildcards_and_longer_ones_than_shorter() -> None:
    names = ["", "*.com", "a.com", "*.example.com", "a.example.com"]
    assert sorted(names, key=specificity) == ["a.example.com", "a.com", "*.example.com", "*.com", ""]
