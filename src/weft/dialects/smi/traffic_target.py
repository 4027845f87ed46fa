"""TrafficTargets as policies of action ALLOW, which close what they do not open.

Source: SMI Traffic Access Control and Traffic Specs. Control is additive; callers that no TrafficTarget names are refused once
one names the destination. A path's expression is anchored at its beginning alone. A TCPRoute beside an HTTPRouteGroup says at
which ports the group holds, and holds by itself where there are no requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from weft.api.smi import HTTPRouteGroup, TCPRoute
from weft.dialects.policies import Placed, Scope
from weft.dialects.values import Finding
from weft.errors import nearest
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Question, Text, TextKind
from weft.names import spiffe_id

if TYPE_CHECKING:
    from weft.api.smi import HttpMatch, Identity, TargetRule, TrafficTarget, TrafficTargetSpec
    from weft.dialects.istio.authorization import Domains
    from weft.values import Ref


class Described(msgspec.Struct, frozen=True, eq=False):
    """What traffic looks like, by namespace and name."""

    groups: Mapping[tuple[str, str], HTTPRouteGroup]
    routes: Mapping[tuple[str, str], TCPRoute]


class _Rule(msgspec.Struct, frozen=True):
    """One rule of a TrafficTarget: the groups of questions of an HTTPRouteGroup, or the ports of a TCPRoute (empty: all)."""

    source: str
    requests: tuple[tuple[Question, ...], ...] | None
    ports: tuple[int, ...] = ()


def read_target(
    ref: Ref, written: TrafficTarget, described: Described, domains: Domains
) -> tuple[Placed | None, tuple[Finding, ...]]:
    """The policy that a TrafficTarget is. What it names and what is not there opens nothing."""
    target = written.target
    namespace = target.destination.namespace or ref.namespace
    if namespace != ref.namespace:
        return None, (_foreign(ref, written, namespace),)
    found: list[_Rule] = []
    findings: list[Finding] = []
    for index, rule in enumerate(target.rules):
        read = _read_rule(ref, index, rule, described, f"{written.rules_field}[{index}]")
        if isinstance(read, Finding):
            findings.append(read)
        else:
            found.append(read)
    who = ((_callers(ref, target.sources, domains),),)
    request = AuthPolicy(ref.path, Action.ALLOW, _for_requests(found, target, who))
    connection = AuthPolicy(ref.path, Action.ALLOW, _for_connections(found, target, who))
    scope = Scope(namespace=namespace, account=f"{namespace}/{target.destination.name}")
    return Placed(ref, (scope,), request, connection, (), asks_port=True), tuple(findings)


def _read_rule(ref: Ref, index: int, rule: TargetRule, described: Described, field: str) -> _Rule | Finding:
    source = f"{ref.path}/rules/{index}"
    where = (ref.namespace, rule.name)
    if rule.kind == "TCPRoute":
        route = described.routes.get(where)
        return _Rule(source, None, route.spec.matches.ports) if route else _missing(ref, rule, field, described.routes)
    group = described.groups.get(where)
    if group is None:
        return _missing(ref, rule, field, described.groups)
    known = {match.name: match for match in group.all_matches}
    for name in rule.matches:
        if name not in known:
            return _no_match(ref, rule, name, field, tuple(known))
    chosen = [known[name] for name in rule.matches] if rule.matches else list(known.values())
    return _Rule(source, tuple(_match(match) for match in chosen))


def _for_requests(
    found: list[_Rule], target: TrafficTargetSpec, who: tuple[tuple[Question, ...], ...]
) -> tuple[AuthRule, ...]:
    """Where there are requests: the HTTPRouteGroups, narrowed by the TCPRoutes; these alone where there is no group."""
    groups = [rule for rule in found if rule.requests is not None]
    ports = _ports(found)
    if not groups:
        return _for_connections(found, target, who)
    if ports is None:
        return tuple(_rule(rule.source, who, rule.requests or (), (), target) for rule in groups)
    return tuple(_rule(rule.source, who, rule.requests or (), ports, target) for rule in groups)


def _ports(found: list[_Rule]) -> tuple[int, ...] | None:
    """The ports of all TCPRoutes together; None when there are none, or one of them takes every port."""
    routes = [rule for rule in found if rule.requests is None]
    if not routes or not all(rule.ports for rule in routes):
        return None
    return tuple(sorted({port for rule in routes for port in rule.ports}))


def _for_connections(
    found: list[_Rule], target: TrafficTargetSpec, who: tuple[tuple[Question, ...], ...]
) -> tuple[AuthRule, ...]:
    return tuple(_rule(rule.source, who, (), rule.ports, target) for rule in found if rule.requests is None)


def _rule(
    source: str,
    who: tuple[tuple[Question, ...], ...],
    operations: tuple[tuple[Question, ...], ...],
    ports: tuple[int, ...],
    target: TrafficTargetSpec,
) -> AuthRule:
    conditions = [_at(ports)] if ports else []
    if target.destination.port is not None:
        conditions.append(_at((target.destination.port,)))
    return AuthRule(source, who, operations if all(operations) else (), tuple(conditions))


def _at(ports: tuple[int, ...]) -> Question:
    return Question(Attribute.PORT, tuple(Text(TextKind.EXACT, str(port)) for port in ports))


def _callers(ref: Ref, sources: tuple[Identity, ...], domains: Domains) -> Question:
    found = (
        Text(TextKind.EXACT, spiffe_id(name, each.namespace or ref.namespace, each.name))
        for each in sources
        for name in domains.all
    )
    return Question(Attribute.PRINCIPAL, tuple(dict.fromkeys(found)))


def _match(match: HttpMatch) -> tuple[Question, ...]:
    questions = []
    if match.path_regex is not None:
        questions.append(Question(Attribute.PATH, (Text(TextKind.REGEX, f"(?:{match.path_regex}).*"),)))
    if match.methods and "*" not in match.methods:
        questions.append(Question(Attribute.METHOD, tuple(Text(TextKind.EXACT, name) for name in match.methods)))
    for name, pattern in match.headers:
        questions.append(Question(Attribute.HEADER, (Text(TextKind.REGEX, pattern),), name=name.lower()))
    return tuple(questions)


def _foreign(ref: Ref, written: TrafficTarget, namespace: str) -> Finding:
    at = "spec.destination" if written.spec is not None else "destination"
    return Finding(
        code="WFT-1229",
        ref=ref,
        field=f"{at}.namespace",
        message=f"the destination is in namespace {namespace}, and the object in {ref.namespace} opens nothing there",
        remedy=f"Move the object to namespace {namespace}",
    )


def _missing(ref: Ref, rule: TargetRule, field: str, known: Mapping[tuple[str, str], object]) -> Finding:
    near = nearest(rule.name, [name for namespace, name in sorted(known) if namespace == ref.namespace], 1)
    return Finding(
        code="WFT-1234",
        ref=ref,
        field=f"{field}.name",
        message=f"there is no {rule.kind} {ref.namespace}/{rule.name}, so the rule opens nothing",
        remedy=f"Write {near[0]}" if near else f"Declare {rule.kind} {rule.name}, or correct the name",
    )


def _no_match(ref: Ref, rule: TargetRule, name: str, field: str, known: tuple[str, ...]) -> Finding:
    near = nearest(name, known, 1)
    return Finding(
        code="WFT-1234",
        ref=ref,
        field=f"{field}.matches",
        message=f"HTTPRouteGroup {ref.namespace}/{rule.name} has no match {name}, so the rule opens nothing",
        remedy=f"Write {near[0]}" if near else f"Use one of {', '.join(known)}",
    )
