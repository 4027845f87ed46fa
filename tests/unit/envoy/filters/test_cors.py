"""CORS policies. What browsers are told is shown with the real Envoy in tests/envoy/test_routes.py."""

from __future__ import annotations

import pytest
import re2

from weft.envoy.filters import cors
from weft.envoy.filters.place import Place, Side
from weft.model.route import Cors


@pytest.mark.parametrize(
    ("pattern", "origin", "matches"),
    [
        ("*", "https://any.example", True),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://a.exampleXcom", False),
        ("https://*.example.com", "https://evil.test/.example.com", False),
    ],
)
def test_a_star_stands_for_labels_and_never_for_another_host(pattern: str, origin: str, matches: bool) -> None:
    [matcher] = cors.policy(Cors(allow_origins=(pattern,))).allow_origin_string_match
    assert bool(re2.fullmatch(matcher.safe_regex.regex, origin)) is matches


def test_an_origin_without_a_star_is_exact() -> None:
    [matcher] = cors.policy(Cors(allow_origins=("https://a.example",))).allow_origin_string_match
    assert matcher.exact == "https://a.example"


def test_a_star_beside_credentials_names_the_methods() -> None:
    assert cors.policy(Cors(allow_methods=("*",))).allow_methods == "*"
    assert cors.policy(Cors(allow_methods=("*",), allow_credentials=True)).allow_methods == cors.METHODS


def test_a_preflight_of_another_origin_goes_no_further() -> None:
    assert cors.policy(Cors()).forward_not_matching_preflights.value is False
    assert cors.policy(Cors(max_age_seconds=5)).max_age == "5"
    assert cors.filter_(Place(Side.EDGE)) is not None
    assert cors.filter_(Place(Side.INBOUND)) is None, "no route of the callee's has a policy"
