"""What policies say and cannot mean: rules that others make pointless, and questions about tokens that nobody checks. Pure.

A rule is looked at where it holds, at ports that speak HTTP, and reported when it is pointless at each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.model.trust import Action, Attribute, AuthRule, Guard, Question, Text, TextKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Said(msgspec.Struct, frozen=True, order=True):
    """One finding about the rule that ``source`` names."""

    source: str
    code: str
    message: str
    remedy: str


_TOKENS: Final = frozenset({Attribute.REQUEST_PRINCIPAL, Attribute.AUDIENCE, Attribute.PRESENTER, Attribute.CLAIM})


def of_policies(guards: Iterable[Guard]) -> tuple[Said, ...]:
    """Every finding, sorted by the rule that it is about; of the guards of ports that speak HTTP."""
    takers: dict[tuple[str, str], list[str]] = {}
    asking: dict[str, list[bool]] = {}
    strange: dict[str, list[frozenset[str]]] = {}
    for guard in dict.fromkeys(guards):
        for source, code, taker in _taken(guard):
            takers.setdefault((source, code), []).append(taker)
        for rule in _rules(guard, *Action):
            if any(question.attribute in _TOKENS for question in rule.questions):
                asking.setdefault(rule.source, []).append(not guard.issuers)
            if guard.issuers and (named := _issuers(rule)):
                strange.setdefault(rule.source, []).append(named - {each.issuer for each in guard.issuers})
    said = [_covered(source, code, found) for (source, code), found in takers.items() if all(found)]
    said += [_unchecked(source) for source, found in asking.items() if all(found)]
    said += [_strange(source, each) for source, found in strange.items() for each in frozenset.intersection(*found)]
    return tuple(sorted(said))


def _issuers(rule: AuthRule) -> frozenset[str]:
    """The issuers that a rule names: what stands before the last slash of a request principal. Source: Istio."""
    return frozenset(
        value.value.rpartition("/")[0]
        for question in rule.questions
        if question.attribute is Attribute.REQUEST_PRINCIPAL
        for value in (*question.any_of, *question.none_of)
        if value.kind in (TextKind.EXACT, TextKind.PREFIX) and (value.kind is TextKind.EXACT or "/" in value.value)
    )


def _rules(guard: Guard, *actions: Action) -> list[AuthRule]:
    """The rules of these actions that decide something; ``dry_run`` is there to be looked at."""
    return [rule for each in guard.policies if each.action in actions and not each.dry_run for rule in each.rules]


def _taken(guard: Guard) -> Iterator[tuple[str, str, str]]:
    """(rule, code, the rule that takes everything it matches; empty: none) of every ALLOW and DENY rule."""
    denied, allowed = _rules(guard, Action.DENY), _rules(guard, Action.ALLOW)
    for rules, code in ((denied, "WFT-1240"), (allowed, "WFT-1240")):
        for number, rule in enumerate(rules):
            others = (*rules[:number], *(each for each in rules[number + 1 :] if not covers(rule, each)))
            yield rule.source, code, _taker(others, rule)
    for rule in allowed:
        yield rule.source, "WFT-1241", _taker(tuple(denied), rule)


def _taker(rules: tuple[AuthRule, ...], rule: AuthRule) -> str:
    return next((each.source for each in rules if covers(each, rule)), "")


def covers(wide: AuthRule, narrow: AuthRule) -> bool:
    """Whether every call for which ``narrow`` holds is surely one for which ``wide`` holds."""
    return (
        _alternatives(wide.sources, narrow.sources)
        and _alternatives(wide.operations, narrow.operations)
        and _all_of(wide.conditions, narrow.conditions)
    )


def _alternatives(wide: tuple[tuple[Question, ...], ...], narrow: tuple[tuple[Question, ...], ...]) -> bool:
    if not wide:
        return True
    return bool(narrow) and all(any(_all_of(group, inner) for group in wide) for inner in narrow)


def _all_of(wide: tuple[Question, ...], narrow: tuple[Question, ...]) -> bool:
    return all(any(_question(question, inner) for inner in narrow) for question in wide)


def _question(wide: Question, narrow: Question) -> bool:
    if (wide.attribute, wide.name) != (narrow.attribute, narrow.name):
        return False
    if wide.any_of and not (narrow.any_of and all(_any(wide.any_of, each) for each in narrow.any_of)):
        return False
    return all(_any(narrow.none_of, each) for each in wide.none_of)


def _any(wide: tuple[Text, ...], narrow: Text) -> bool:
    return any(_text(each, narrow) for each in wide)


def _text(wide: Text, narrow: Text) -> bool:
    if wide == narrow or wide.kind is TextKind.PRESENT:
        return True
    if wide.kind is TextKind.PREFIX:
        return narrow.kind in (TextKind.EXACT, TextKind.PREFIX) and narrow.value.startswith(wide.value)
    return (
        wide.kind is TextKind.SUFFIX
        and narrow.kind in (TextKind.EXACT, TextKind.SUFFIX)
        and narrow.value.endswith(wide.value)
    )


def _covered(source: str, code: str, takers: list[str]) -> Said:
    if code == "WFT-1241":
        return Said(
            source,
            code,
            f"the rule lets nobody in: {shown(takers[0])} denies everything that it matches, and DENY is asked first",
            "Remove it, or make the other rule narrower",
        )
    return Said(
        source,
        code,
        f"the rule changes nothing: {shown(takers[0])} matches everything that it matches",
        "Remove it, or make the other rule narrower",
    )


def _unchecked(source: str) -> Said:
    return Said(
        source,
        "WFT-1239",
        "the rule asks about tokens, and no RequestAuthentication holds where it does: every caller is without a token there",
        "Write a RequestAuthentication that selects the same workloads",
    )


def _strange(source: str, issuer: str) -> Said:
    return Said(
        source,
        "WFT-1257",
        f"the rule asks for tokens of issuer {issuer or '(none)'}, and no RequestAuthentication that holds there names it: "
        "the issuer of a request principal ends at its last '/'",
        "Write ISSUER/SUBJECT with an issuer as a RequestAuthentication has it, or ask for request.auth.claims[sub]",
    )


def shown(source: str) -> str:
    """``rule 0 of AuthorizationPolicy/shop/pay``."""
    place, found, index = source.rpartition("/rules/")
    return f"rule {index} of {place}" if found else source
