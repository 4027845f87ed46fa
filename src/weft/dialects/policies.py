"""Policies as every dialect says them: where they hold, and what they ask at one port.

A policy is written for requests. At a port that does not speak HTTP it asks connections, which know less. Source: Istio,
"Authorization Policy for TCP Ports": a rule of action ALLOW that asks about requests never holds there; of the others what asks
about requests is left out, so that they hold for more. What a rule says of ports is decided here: a guard holds for one port.
"""

from __future__ import annotations

from typing import Final

import msgspec

from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Question, Text, TextKind, TokenIssuer
from weft.values import Pairs, Ref

ROOTS: Final = ("istio-system", "weft-system")
"""Namespaces whose policies hold in the whole mesh: Istio's usual one, so that its manifests do, and ours."""


class Scope(msgspec.Struct, frozen=True, cache_hash=True, kw_only=True):
    """Where something holds. Empty fields narrow nothing: ``namespace`` and ``labels`` of a workload or of a Gateway's proxy;
    ``account`` is ``namespace/name``; ``ports`` are numbers and names of a workload's ports; ``gateway`` is ``namespace/name``.
    """

    namespace: str = ""
    labels: Pairs = ()
    account: str = ""
    ports: tuple[int | str, ...] = ()
    gateway: str = ""
    gateway_class: str = ""


class SubjectPort(msgspec.Struct, frozen=True, cache_hash=True, order=True):
    number: int
    name: str
    is_http: bool


class Subject(msgspec.Struct, frozen=True, cache_hash=True, kw_only=True):
    """Something that policies hold for: workloads that are alike, or a Gateway (``gateway`` is ``namespace/name`` then)."""

    namespace: str
    labels: Pairs = ()
    account: str = ""
    """``namespace/name``"""
    ports: tuple[SubjectPort, ...] = ()
    gateway: str = ""
    gateway_class: str = ""
    identity_header: bool = False


class Placed(msgspec.Struct, frozen=True, cache_hash=True):
    """A policy and where it holds. ``connection`` is what it asks at ports that do not speak HTTP, None when nothing; ``lost``
    are the rules that ask less there.
    """

    ref: Ref
    scopes: tuple[Scope, ...]
    request: AuthPolicy
    connection: AuthPolicy | None
    lost: tuple[str, ...] = ()
    asks_port: bool = False


class PlacedIssuers(msgspec.Struct, frozen=True, cache_hash=True):
    """Token issuers of one object, and where they count."""

    ref: Ref
    scopes: tuple[Scope, ...]
    issuers: tuple[TokenIssuer, ...]


def placed(ref: Ref, scopes: tuple[Scope, ...], policy: AuthPolicy) -> Placed:
    """A policy, with what is left of it where there are no requests."""
    connection, lost = for_connections(policy)
    asks = any(question.attribute is Attribute.PORT for rule in policy.rules for question in rule.questions)
    return Placed(ref, scopes, policy, connection, lost, asks)


def scoped(scope: Scope, subject: Subject) -> bool:
    """Whether a policy of this scope holds for a subject, at some of its ports at least."""
    if scope.gateway or scope.gateway_class:
        return bool(subject.gateway) and (
            scope.gateway == subject.gateway if scope.gateway else scope.gateway_class == subject.gateway_class
        )
    if (scope.account or scope.ports) and subject.gateway:
        return False
    return (
        scope.namespace in ("", subject.namespace)
        and scope.account in ("", subject.account)
        and set(scope.labels) <= set(subject.labels)
    )


def at(scopes: tuple[Scope, ...], subject: Subject, port: SubjectPort | None) -> bool:
    """Whether one of the scopes, all of which hold for the subject, takes in this port (None: a Gateway's, all)."""
    return any(
        not scope.ports or (port is not None and (port.number in scope.ports or port.name in scope.ports))
        for scope in scopes
        if scoped(scope, subject)
    )


def for_connections(policy: AuthPolicy) -> tuple[AuthPolicy | None, tuple[str, ...]]:
    """What a policy asks of connections (None: it holds for none and decides nothing), and the rules that changed."""
    kept: list[AuthRule] = []
    lost: list[str] = []
    for rule in policy.rules:
        if not any(question.attribute.is_http for question in rule.questions):
            kept.append(rule)
            continue
        lost.append(rule.source)
        if policy.action is not Action.ALLOW:
            kept.append(_without_requests(rule))
    return _with_rules(policy, tuple(kept)), tuple(lost)


def at_port(policy: AuthPolicy, port: int) -> AuthPolicy | None:
    """A policy at one port, without questions about ports; None when it decides nothing there."""
    kept = tuple(left for rule in policy.rules if (left := _rule_at(rule, port)) is not None)
    return policy if kept == policy.rules else _with_rules(policy, kept)


def text(value: str) -> Text:
    """A value of a rule as Istio reads it: ``*``, ``abc*``, ``*abc`` or ``abc``."""
    if value == "*":
        return Text(TextKind.PRESENT)
    if value.startswith("*"):
        return Text(TextKind.SUFFIX, value[1:])
    if value.endswith("*"):
        return Text(TextKind.PREFIX, value[:-1])
    return Text(TextKind.EXACT, value)


def _with_rules(policy: AuthPolicy, rules: tuple[AuthRule, ...]) -> AuthPolicy | None:
    """An ALLOW policy without rules still decides: it lets nobody in."""
    if not rules and policy.action is not Action.ALLOW:
        return None
    return policy if rules == policy.rules else msgspec.structs.replace(policy, rules=rules)


def _without_requests(rule: AuthRule) -> AuthRule:
    return AuthRule(
        rule.source,
        _groups(tuple(_asked(group) for group in rule.sources)),
        _groups(tuple(_asked(group) for group in rule.operations)),
        _asked(rule.conditions),
    )


def _asked(group: tuple[Question, ...]) -> tuple[Question, ...]:
    return tuple(question for question in group if not question.attribute.is_http)


def _groups(groups: tuple[tuple[Question, ...], ...]) -> tuple[tuple[Question, ...], ...]:
    """Alternatives, one of which must hold: with an empty one among them there is nothing to ask."""
    return groups if all(groups) else ()


def _rule_at(rule: AuthRule, port: int) -> AuthRule | None:
    conditions = _group_at(rule.conditions, port)
    operations = tuple(left for group in rule.operations if (left := _group_at(group, port)) is not None)
    if conditions is None or (rule.operations and not operations):
        return None
    return AuthRule(rule.source, rule.sources, _groups(operations), conditions)


def _group_at(group: tuple[Question, ...], port: int) -> tuple[Question, ...] | None:
    """What a group still asks at a port; None when it cannot hold there."""
    for question in group:
        if question.attribute is Attribute.PORT and not _takes(question, port):
            return None
    return tuple(question for question in group if question.attribute is not Attribute.PORT)


def _takes(question: Question, port: int) -> bool:
    value = Text(TextKind.EXACT, str(port))
    return (not question.any_of or value in question.any_of) and value not in question.none_of
