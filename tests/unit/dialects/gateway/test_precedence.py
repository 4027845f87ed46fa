from __future__ import annotations

from weft.dialects.gateway.precedence import Entry, flatten, ordered, weight
from weft.model.route import Match, MatchKind, NamedMatch, Rule, StringMatch


def match(kind: MatchKind, value: str, **rest: object) -> Match:
    return Match(StringMatch(kind, value), **rest)  # type: ignore[arg-type]  # fields of Match by name


NAMED = NamedMatch("a", StringMatch(MatchKind.EXACT, "b"))


def test_the_order_is_exact_regex_prefix_then_what_is_longer_and_has_more() -> None:
    wanted = [
        match(MatchKind.EXACT, "/long"),
        match(MatchKind.EXACT, "/a", method="GET"),
        match(MatchKind.EXACT, "/a"),
        match(MatchKind.REGEX, "/.*"),
        match(MatchKind.PREFIX, "/longer"),
        match(MatchKind.PREFIX, "/a", method="GET"),
        match(MatchKind.PREFIX, "/a", headers=(NAMED, NAMED)),
        match(MatchKind.PREFIX, "/a", headers=(NAMED,), query=(NAMED,)),
        match(MatchKind.PREFIX, "/a", headers=(NAMED,)),
        match(MatchKind.PREFIX, "/a", query=(NAMED,)),
        match(MatchKind.PREFIX, "/a"),
        match(MatchKind.PREFIX, "/"),
    ]
    backwards = wanted[::-1]
    assert sorted(backwards, key=weight) == wanted


def test_a_rule_with_two_matches_becomes_two() -> None:
    rule = Rule("r", matches=(match(MatchKind.PREFIX, "/a"), match(MatchKind.EXACT, "/b")))
    assert [len(each.matches) for _, each in flatten((rule,))] == [1, 1]
    single = Rule("s")
    assert flatten((single,))[0][1] is single


def test_ties_go_to_the_oldest_route_then_the_name_then_the_place() -> None:
    entries = (
        Entry("", "n", "a", (Rule("unknown age"),)),
        Entry("2022", "n", "b", (Rule("young b 0"), Rule("young b 1"))),
        Entry("2022", "m", "c", (Rule("young m c"),)),
        Entry("2021", "z", "z", (Rule("old"),)),
    )
    expected = ["old", "young m c", "young b 0", "young b 1", "unknown age"]
    assert [rule.source for rule in ordered(entries)] == expected
    assert [rule.source for rule in ordered(entries[::-1])] == expected
