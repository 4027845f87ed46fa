from __future__ import annotations

from weft.dialects.gateway.edges import narrowed
from weft.model.route import Match, MatchKind, Rule, StringMatch


def rule(kind: MatchKind, value: str) -> Rule:
    return Rule(value, matches=(Match(StringMatch(kind, value)),))


def shown(rules: tuple[Rule, ...]) -> list[str]:
    return [each.matches[0].path.value for each in rules]


def test_rules_are_narrowed_to_the_exposed_path() -> None:
    rules = (
        rule(MatchKind.PREFIX, "/"),
        rule(MatchKind.PREFIX, "/api/v1"),
        rule(MatchKind.EXACT, "/api"),
        rule(MatchKind.EXACT, "/other"),
        rule(MatchKind.PREFIX, "/apis"),
        rule(MatchKind.REGEX, "/x.*"),
    )
    assert shown(narrowed(rules, "/api/")) == ["/api", "/api/v1", "/api", "/x.*"]
    assert shown(narrowed((rule(MatchKind.PREFIX, "/api"),), "/api/v1")) == ["/api/v1"]


def test_the_whole_path_changes_nothing() -> None:
    rules = (rule(MatchKind.PREFIX, "/a"),)
    assert narrowed(rules, "/") is rules
