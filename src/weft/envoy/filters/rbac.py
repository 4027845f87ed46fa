"""RBAC: who may do what, on requests and on connections.

Source: Istio, AuthorizationPolicy reference: DENY before ALLOW; AUDIT decides nothing; a policy in dry run only says what it
would have done. Every Envoy policy is named after the user's rule, so that a refused request says which rule refused it
(``rbac_access_denied_matched_policy[...]``). Banned identities are refused before anything else is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.envoy import api, questions
from weft.envoy.filters import ext_authz
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.rbac import v3 as rbac
from weft.envoy.protos.envoy.extensions.filters.http.rbac import v3 as http_rbac
from weft.envoy.protos.envoy.extensions.filters.network.rbac import v3 as network_rbac
from weft.envoy.protos.envoy.type.matcher import v3 as matcher
from weft.envoy.questions import Asked
from weft.model.trust import Action, AuthPolicy, AuthRule, Guard, Provider, Question, Trust

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HTTP: Final = "envoy.filters.http.rbac"
NETWORK: Final = "envoy.filters.network.rbac"
BANNED: Final = "banned"
"""The name of the policy that refuses banned identities."""
DRY_RUN_DENY: Final = "dry_run_deny_"
DRY_RUN_ALLOW: Final = "dry_run_allow_"
AUDIT: Final = "audit_"
CUSTOM: Final = "custom_"
"""Prefixes of Envoy's counters, and of what it notes about a request for the access log."""
EFFECTIVE: Final = "shadow_effective_policy_id"
RESULT: Final = "shadow_engine_result"


class Gate(msgspec.Struct, frozen=True, cache_hash=True):
    """What stands before one port. ``port`` 0: a Gateway's guard, or a port that is not known before there is a connection."""

    guard: Guard
    trust: Trust = Trust()
    port: int = 0
    edge: bool = False


class Stage(msgspec.Struct, frozen=True):
    """One question to RBAC: rules that decide, rules that only take note, and what their counters begin with."""

    name: str
    rules: rbac.RBAC | None = None
    shadow: rbac.RBAC | None = None
    prefix: str = ""


def http(gate: Gate) -> list[core.TypedExtensionConfig]:
    """The filters that ask about requests, in order."""
    asked = [filter_ for custom in customs(gate, http=True) for filter_ in _asked(custom)]
    return [*asked, *(_http(stage) for stage in stages(gate, http=True))]


def network(guard: Guard, trust: Trust, port: int = 0) -> tuple[listener.Filter, ...]:
    """The filters that ask about connections, in order; they stand before what passes bytes on."""
    gate = Gate(guard, trust, port)
    asked = [filter_ for custom in customs(gate, http=False) for filter_ in _asked_on_connections(custom)]
    return (*asked, *(_network(each) for stage in stages(gate, http=False) for each in _apart(stage)))


class Custom(msgspec.Struct, frozen=True):
    """The rules that say when one provider is asked, and under what name it is noted that one of them matched."""

    provider: Provider
    rules: rbac.RBAC
    prefix: str

    def noted(self, namespace: str) -> matcher.MetadataMatcher:
        """The note, which the RBAC filter of ``namespace`` makes."""
        path = [matcher.MetadataMatcher.PathSegment(key=f"{self.prefix}{RESULT}")]
        matched = matcher.ValueMatcher(string_match=matcher.StringMatcher(exact=ext_authz.MATCHED))
        return matcher.MetadataMatcher(filter=namespace, path=path, value=matched)


def customs(gate: Gate, *, http: bool) -> Iterator[Custom]:
    """One for each provider, in the order of their first policies."""
    chosen = [each for each in gate.guard.policies if each.action is Action.CUSTOM and not each.dry_run]
    providers = dict.fromkeys(each.provider for each in chosen if each.provider)
    for number, provider in enumerate(providers):
        own = [each for each in chosen if each.provider == provider]
        rules = dict(policies(own, gate, refuses=True, http=http))
        if rules:
            yield Custom(provider, _rbac(rbac.RBAC.DENY, rules), f"{CUSTOM}{number}_")


def _asked(custom: Custom) -> Iterator[core.TypedExtensionConfig]:
    yield _http(Stage(f"custom.{custom.provider.name}", shadow=custom.rules, prefix=custom.prefix))
    yield ext_authz.http(custom.provider, custom.noted(HTTP))


def _asked_on_connections(custom: Custom) -> Iterator[listener.Filter]:
    """Who speaks HTTP only cannot be asked about a connection: what would be asked is refused. Source: Istio."""
    name = f"custom.{custom.provider.name}"
    if not custom.provider.grpc:
        yield _network(Stage(name, rules=custom.rules))
        return
    yield _network(Stage(name, shadow=custom.rules, prefix=custom.prefix))
    yield ext_authz.network(custom.provider, custom.noted(NETWORK))


def stages(gate: Gate, *, http: bool) -> Iterator[Stage]:
    """AUDIT, DENY and ALLOW, as far as there is anything to ask. What a provider that does not exist should be asked about is
    refused; in dry run nobody is asked, and it is only noted what would have been.
    """
    audits = _rules(gate, Action.AUDIT, http=http)
    if audits:
        yield Stage("audit", shadow=_rbac(rbac.RBAC.ALLOW, audits), prefix=AUDIT)
    lost = [each for each in gate.guard.policies if each.action is Action.CUSTOM and not each.provider]
    denied = {
        **_banned(gate.trust),
        **dict(policies([each for each in lost if not each.dry_run], gate, refuses=True, http=http)),
        **_rules(gate, Action.DENY, http=http),
    }
    tried = {
        **_rules(gate, Action.CUSTOM, http=http, dry_run=True),
        **_rules(gate, Action.DENY, http=http, dry_run=True),
    }
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
        track_per_rule_stats=stage.prefix in (DRY_RUN_DENY, DRY_RUN_ALLOW) and stage.shadow is not None,
    )
    return core.TypedExtensionConfig(name=f"{HTTP}.{stage.name}", typed_config=api.pack(made))


def _apart(stage: Stage) -> Iterator[Stage]:
    """On connections Envoy does not count rules apart, so that each DENY rule in dry run is a question of its own, asked before
    anything is refused.
    """
    if stage.prefix != DRY_RUN_DENY or stage.shadow is None:
        yield stage
        return
    # A map of protobuf has no order of its own, and equal guards must give equal bytes.
    for name in sorted(stage.shadow.policies):
        yield Stage(name, shadow=_rbac(rbac.RBAC.DENY, {name: stage.shadow.policies[name]}), prefix=stage.prefix)
    if stage.rules is not None:
        yield Stage(stage.name, stage.rules)


def _network(stage: Stage) -> listener.Filter:
    made = network_rbac.RBAC(
        stat_prefix=f"policy.{stage.name}.",
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
    asked = Asked(gate.trust.domain, gate.port, gate.guard.issuers, refuses, gate.edge)
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
