"""Which policies reach whom: of the many that are written, the few that hold for one kind of workload or one Gateway.

Policies that select by labels are found by one of them, so that asking costs what holds and not what is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from weft.dialects.istio.peer_authentication import NamespaceModes, selecting
from weft.dialects.policies import Placed, PlacedIssuers, Scope, Subject, scoped

if TYPE_CHECKING:
    from weft.dialects.security import Security

T = TypeVar("T", Placed, PlacedIssuers)


class NamespaceRules(msgspec.Struct, frozen=True):
    """Everything that can concern the subjects of one namespace."""

    namespace: str
    policies: tuple[Placed, ...]
    issuers: tuple[PlacedIssuers, ...]
    modes: NamespaceModes
    default_deny: bool


class Applying(msgspec.Struct, frozen=True, cache_hash=True):
    """Everything that concerns one subject; of ``modes`` only what is chosen for it."""

    subject: Subject
    policies: tuple[Placed, ...]
    issuers: tuple[PlacedIssuers, ...]
    modes: NamespaceModes
    default_deny: bool


class Index(msgspec.Struct, Generic[T], frozen=True, eq=False):
    """Things that hold somewhere, each with its number in the order that they are kept in: those that hold for everything in the
    namespace, those that need one label, and those that must be looked at. Compared by identity.
    """

    everywhere: tuple[tuple[int, T], ...]
    by_label: Mapping[tuple[str, str], tuple[tuple[int, T], ...]]
    others: tuple[tuple[int, T], ...]

    def of(self, subject: Subject) -> tuple[T, ...]:
        """What holds for a subject, in order, each once."""
        found = dict(self.everywhere)
        for label in subject.labels:
            found.update(_holding(self.by_label.get(label, ()), subject))
        found.update(_holding(self.others, subject))
        return tuple(each for _, each in sorted(found.items(), key=_number))


class Lookup(msgspec.Struct, frozen=True, eq=False):
    """The rules of one namespace, ready to be asked. Compared by identity."""

    policies: Index[Placed]
    issuers: Index[PlacedIssuers]
    modes: NamespaceModes
    default_deny: bool

    def of(self, subject: Subject) -> Applying:
        """What concerns one subject."""
        chosen = None if subject.gateway else selecting(self.modes, subject)
        modes = msgspec.structs.replace(self.modes, workloads=(chosen,) if chosen else ())
        return Applying(subject, self.policies.of(subject), self.issuers.of(subject), modes, self.default_deny)


def namespace_rules(security: Security, namespace: str, default_deny: bool) -> NamespaceRules:
    """What can concern one namespace."""
    return NamespaceRules(
        namespace,
        tuple(each for each in security.policies if _concerns(each.scopes, namespace)),
        tuple(each for each in security.issuers if _concerns(each.scopes, namespace)),
        security.modes.of(namespace),
        default_deny,
    )


def lookup(rules: NamespaceRules) -> Lookup:
    wide = (Scope(), Scope(namespace=rules.namespace))
    return Lookup(_index(rules.policies, wide), _index(rules.issuers, wide), rules.modes, rules.default_deny)


def _index(found: tuple[T, ...], wide: tuple[Scope, ...]) -> Index[T]:
    everywhere: list[tuple[int, T]] = []
    by_label: dict[tuple[str, str], list[tuple[int, T]]] = {}
    others: list[tuple[int, T]] = []
    for numbered in enumerate(found):
        scopes = numbered[1].scopes
        if any(scope in wide for scope in scopes):
            everywhere.append(numbered)
        elif all(scope.labels for scope in scopes):
            for label in dict.fromkeys(scope.labels[-1] for scope in scopes):
                by_label.setdefault(label, []).append(numbered)
        else:
            others.append(numbered)
    labels = {label: tuple(each) for label, each in by_label.items()}
    return Index(tuple(everywhere), labels, tuple(others))


def _concerns(scopes: Iterable[Scope], namespace: str) -> bool:
    return any(
        bool(scope.gateway_class)
        or (scope.gateway.startswith(f"{namespace}/") if scope.gateway else scope.namespace in ("", namespace))
        for scope in scopes
    )


def _holding(found: tuple[tuple[int, T], ...], subject: Subject) -> list[tuple[int, T]]:
    return [each for each in found if any(scoped(scope, subject) for scope in each[1].scopes)]


def _number(numbered: tuple[int, object]) -> int:
    return numbered[0]
