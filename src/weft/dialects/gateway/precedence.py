"""Which rule wins: the rules of many routes as one list, the first that matches wins.

Source: Gateway API, HTTPRouteRule.matches. An exact path, then regular expressions (whose place the specification leaves to us),
then the longest prefix; then a method, the most headers, the most query parameters; then the oldest route, then the first
by namespace and name, then the first rule of a route.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from weft.model.route import Match, MatchKind, Rule

Weight: TypeAlias = tuple[int, int, int, int, int]

_RANK = {MatchKind.EXACT: 0, MatchKind.REGEX: 1, MatchKind.PREFIX: 2}


class Entry(msgspec.Struct, frozen=True, cache_hash=True):
    """What one route brings to one place: its rules in their order, and what ties are settled by."""

    created: str
    namespace: str
    name: str
    rules: tuple[Rule, ...]


def weight(match: Match) -> Weight:
    """Smaller wins."""
    return (
        _RANK[match.path.kind],
        -len(match.path.value),
        0 if match.method else 1,
        -len(match.headers),
        -len(match.query),
    )


def flatten(rules: tuple[Rule, ...]) -> tuple[tuple[Weight, Rule], ...]:
    """One rule for each match, so that matches of different rules can be put in order."""
    return tuple(
        (weight(match), rule if len(rule.matches) == 1 else msgspec.structs.replace(rule, matches=(match,)))
        for rule in rules
        for match in rule.matches
    )


def ordered(entries: tuple[Entry, ...]) -> tuple[Rule, ...]:
    """All rules of these routes by precedence; entries may come in any order."""
    found: list[tuple[Weight, tuple[str, str, str], int, Rule]] = []
    for entry in entries:
        tie = (entry.created or "~", entry.namespace, entry.name)
        found.extend((wins, tie, place, rule) for place, (wins, rule) in enumerate(flatten(entry.rules)))
    found.sort(key=lambda item: item[:3])
    return tuple([rule for *_, rule in found])
