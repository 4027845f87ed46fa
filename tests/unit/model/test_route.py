from __future__ import annotations

from weft.model.route import Match, MatchKind, Rule, StringMatch, VirtualHost


def test_a_rule_matches_every_path_unless_it_says_otherwise() -> None:
    assert Rule("x").matches == (Match(path=StringMatch(MatchKind.PREFIX, "/")),)


def test_equal_virtual_hosts_are_equal_keys() -> None:
    one, two = VirtualHost("a", (Rule("x"),)), VirtualHost("a", (Rule("x"),))
    assert {one: 1}[two] == 1
    assert one != VirtualHost("a", (Rule("y"),))
