"""RBAC: who may do what, on requests and on connections.

Source: Istio, AuthorizationPolicy reference: DENY before ALLOW; AUDIT decides nothing; a policy in dry run only says what it
would have done. Every Envoy policy is named after the user's rule, so that a refused request says which rule refused it
(``rbac_access_denied_matched_policy[...]``). Banned identities are refused before anything else is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.envoy import api, questions
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.rbac import v3 as rbac
from weft.envoy.protos.envoy.extensions.filters.http.rbac import v3 as http_rbac
from weft.envoy.protos.envoy.extensions.filters.network.rbac import v3 as network_rbac
from weft.envoy.protos.envoy.type.matcher import v3 as matcher
from weft.envoy.questions import Asked
from weft.model.trust import Action, AuthPolicy, AuthRule, Guard, Question, Trust

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HTTP: Final = "envoy.filters.http.rbac"
NETWORK: Final = "envoy.filters.network.rbac"
BANNED: Final = "banned"
"""The name of the policy that refuses banned identities."""
DRY_RUN_DENY: Final = "dry_run_deny_"
DRY_RUN_ALLOW: Final = "dry_run_allow_"
AUDIT: Final = "audit_"
"""Prefixes of Envoy's counters, and of what it notes about a request for the access log."""
EFFECTIVE: Final = "shadow_effective_policy_id"
RESULT: Final = "shadow_engine_result"


class Gate(msgspec.Struct, frozen=True, cache_hash=True):
    """What stands before one port. ``port`` 0: a Gateway's guard, or a port that is not known before there is a connection."""

    guard: Guard
    trust: Trust = Trust()
    port: int = 0


class Stage(msgspec.Struct, frozen=True):
    """One question to RBAC: rules that decide, rules that only take note, and what their counters begin with."""

    name: str
    rules: rbac.RBAC | None = None
    shadow: rbac.RBAC | None = None
    prefix: str = ""


def http(gate: Gate) -> list[core.TypedExtensionConfig]:
    """The filters that ask about requests, in order."""
    return [_http(stage) for stage in stages(gate, http=True)]


def network(guard: Guard, trust: Trust, port: int = 0) -> tuple[listener.Filter, ...]:
    """The filters that ask about connections, in order; they stand before what passes bytes on."""
    return tuple(_network(stage) for stage in stages(Gate(guard, trust, port), http=False))


def stages(gate: Gate, *, http: bool) -> Iterator[Stage]:
    """AUDIT, DENY and ALLOW, as far as there is anything to ask."""
    audits = _rules(gate, Action.AUDIT, http=http)
    if audits:
        yield Stage("audit", shadow=_rbac(rbac.RBAC.ALLOW, audits), prefix=AUDIT)
    denied = {**_banned(gate.trust), **_rules(gate, Action.DENY, http=http)}
    tried = _rules(gate, Action.DENY, http=http, dry_run=True)
    if denied or tried:
        shadow = _rbac(rbac.RBAC.DENY, tried) if tried else None
        yield Stage("deny", _rbac(rbac.RBAC.DENY, denied) if denied else None, shadow, DRY_RUN_DENY)
    yield from _allow(gate, http=http)


def _allow(gate: Gate, *, http: bool) -> Iterator[Stage]:
    """Once there is an ALLOW policy, what none of them allows is refused: a policy without rules allows nothing."""
    allowing = [policy for policy in gate.guard.policies if policy.action is Action.ALLOW]
    closed = gate.guard.default_deny or any(not policy.dry_run for policy in allowing)
    allowed = _rules(gate, Action.ALLOW, http=http)
    tried = any(policy.dry_run for policy in allowing)
    if not closed and not tried:
        return
    shadow = {**allowed, **_rules(gate, Action.ALLOW, http=http, dry_run=True)} if tried else {}
    yield Stage(
        "allow",
        _rbac(rbac.RBAC.ALLOW, allowed) if closed else None,
        _rbac(rbac.RBAC.ALLOW, shadow) if tried else None,
        DRY_RUN_ALLOW,
    )


def everybody_denied() -> core.TypedExtensionConfig:
    """No request passes."""
    return _http(Stage("deny", rules=_rbac(rbac.RBAC.ALLOW, {})))


def nothing_passes(stat: str) -> listener.Filter:
    """No connection passes."""
    return _network(Stage(stat, rules=_rbac(rbac.RBAC.ALLOW, {})))


def _http(stage: Stage) -> core.TypedExtensionConfig:
    made = http_rbac.RBAC(
        rules=stage.rules,
        shadow_rules=stage.shadow,
        shadow_rules_stat_prefix=stage.prefix if stage.shadow else "",
    )
    return core.TypedExtensionConfig(name=f"{HTTP}.{stage.name}", typed_config=api.pack(made))


def _network(stage: Stage) -> listener.Filter:
    made = network_rbac.RBAC(
        stat_prefix=f"{stage.name}.",
        rules=stage.rules,
        shadow_rules=stage.shadow,
        shadow_rules_stat_prefix=stage.prefix if stage.shadow else "",
    )
    return listener.Filter(name=NETWORK, typed_config=api.pack(made))


def _rbac(action: rbac.RBAC.Action, policies: dict[str, rbac.Policy]) -> rbac.RBAC:
    return rbac.RBAC(action=action, policies=policies)


def _banned(trust: Trust) -> dict[str, rbac.Policy]:
    if not trust.banned:
        return {}
    who = [questions.identity(matcher.StringMatcher(exact=each)) for each in trust.banned]
    return {BANNED: rbac.Policy(permissions=[rbac.Permission(any=True)], principals=who)}


def _rules(gate: Gate, action: Action, *, http: bool, dry_run: bool = False) -> dict[str, rbac.Policy]:
    """Every rule of the policies with this action, by its provenance."""
    chosen = [each for each in gate.guard.policies if each.action is action and each.dry_run is dry_run]
    return dict(policies(chosen, gate, refuses=action is not Action.ALLOW, http=http))


def policies(
    chosen: Iterable[AuthPolicy], gate: Gate, *, refuses: bool, http: bool
) -> Iterator[tuple[str, rbac.Policy]]:
    """The rules of policies as Envoy asks them. On a connection nothing is known about requests: then a rule that refuses
    asks the rest, and one that allows never holds. Source: Istio, AuthorizationPolicy on TCP workloads.
    """
    asked = Asked(gate.trust.domain, gate.port, gate.guard.issuers, refuses)
    for policy in chosen:
        for rule in policy.rules:
            found = rule if http else _of_connections(rule, refuses=refuses)
            if found is not None:
                yield found.source, _policy(found, asked)


def _policy(rule: AuthRule, asked: Asked) -> rbac.Policy:
    """One of the sources, one of the operations, and all conditions."""
    called = [questions.permission(each, asked) for each in rule.conditions if _is_called(each)]
    calling = [questions.principal(each, asked) for each in rule.conditions if not _is_called(each)]
    operations = [[questions.permission(each, asked) for each in group] for group in rule.operations] or [[]]
    sources = [[questions.principal(each, asked) for each in group] for group in rule.sources] or [[]]
    return rbac.Policy(
        permissions=[questions.all_permissions([*group, *called]) for group in operations],
        principals=[questions.all_principals([*group, *calling]) for group in sources],
    )


def _is_called(question: Question) -> bool:
    return question.attribute in questions.PERMISSIONS


def _of_connections(rule: AuthRule, *, refuses: bool) -> AuthRule | None:
    """What is left of a rule where there are no requests; None when it can never hold."""
    if not any(each.attribute.is_http for each in rule.questions):
        return rule
    if not refuses:
        sources = tuple(group for group in rule.sources if not _about_requests(group))
        operations = tuple(group for group in rule.operations if not _about_requests(group))
        dead = (rule.sources and not sources) or (rule.operations and not operations)
        if dead or _about_requests(rule.conditions):
            return None
        return msgspec.structs.replace(rule, sources=sources, operations=operations)
    return msgspec.structs.replace(
        rule,
        sources=tuple(_without_requests(group) for group in rule.sources),
        operations=tuple(_without_requests(group) for group in rule.operations),
        conditions=_without_requests(rule.conditions),
    )


def _about_requests(group: tuple[Question, ...]) -> bool:
    return any(each.attribute.is_http for each in group)


def _without_requests(group: tuple[Question, ...]) -> tuple[Question, ...]:
    return tuple(each for each in group if not each.attribute.is_http)
