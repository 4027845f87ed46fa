"""Matches. What they match is shown with the real Envoy in tests/envoy/test_routes.py."""

from __future__ import annotations

from weft.envoy import matches
from weft.model.route import Match, MatchKind, NamedMatch, StringMatch


def path(kind: MatchKind, value: str) -> Match:
    return Match(path=StringMatch(kind, value))


def test_each_kind_of_path_has_its_own_field() -> None:
    assert matches.route_match(path(MatchKind.EXACT, "/a")).path == "/a"
    assert matches.route_match(path(MatchKind.PREFIX, "/a/")).path_separated_prefix == "/a"
    assert matches.route_match(path(MatchKind.PREFIX, "/")).prefix == "/"
    assert matches.route_match(path(MatchKind.REGEX, "/a.*")).safe_regex.regex == "/a.*"


def test_a_share_is_exact_to_a_millionth() -> None:
    assert matches.fraction(1, 3).numerator == 333_333
    assert matches.route_match(Match(), 1, 4).runtime_fraction.default_value.numerator == 250_000
    assert not matches.route_match(Match()).HasField("runtime_fraction")


def test_header_names_are_lower_case_and_the_host_is_the_authority() -> None:
    exact = StringMatch(MatchKind.EXACT, "v")
    match = Match(headers=(NamedMatch("X-A", exact), NamedMatch("Host", exact)), method="GET")
    names = [item.name for item in matches.route_match(match).headers]
    assert names == [":method", "x-a", ":authority"]


def test_a_prefix_of_a_value_is_a_plain_prefix() -> None:
    assert matches.string(StringMatch(MatchKind.PREFIX, "ab")).prefix == "ab"


def test_only_a_match_with_a_method_needs_one_for_its_preflight() -> None:
    assert matches.preflight(Match()) is None
    asked = matches.preflight(Match(method="PUT", headers=(NamedMatch("x", StringMatch(MatchKind.EXACT, "1")),)))
    assert asked is not None
    assert asked.method == "OPTIONS"
    assert [item.name for item in asked.headers] == ["access-control-request-method"]


def test_everything_and_connect_are_matches_of_their_own() -> None:
    assert matches.everything().prefix == "/"
    assert matches.connect().HasField("connect_matcher")
