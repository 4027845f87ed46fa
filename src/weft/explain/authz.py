"""Whether a call is allowed, and which rule says so: what the callee's proxy does, computed from the guard alone.

This is the oracle that attacks are compared with, so it shares no code with what configures Envoy. The order is Istio's, with
what stands before it: mutual TLS, the trust domain, bans, tokens; then CUSTOM, DENY, ALLOW, and what holds when no policy
speaks. What denies first, decides; a later stage that denies as well is not hidden by an authorizer that nobody asked.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from weft.explain.asking import SCHEME, holds
from weft.explain.call import Call, Decision, Stage, Step, Verdict
from weft.explain.edited import heard, plainly, set_by_proxies
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Question, TlsMode, Trust

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PASSED: Final = "passed"
ALLOWED: Final = "allowed"
DENIED: Final = "denied"
UNKNOWN: Final = "unknown"
NOTED: Final = "noted"
_SHOWN: Final = 3


def decide(guard: Guard, call: Call, trust: Trust) -> Decision:
    """The decision, and every step up to it. A stage about which there is nothing to say has no step."""
    if guard.mode is TlsMode.DISABLE and call.caller:
        call = msgspec.structs.replace(call, caller="")
    call = heard(call)
    steps: list[Step] = []
    for step in _steps(guard, call, trust):
        steps.append(step)
        if step.outcome == DENIED and not step.dry_run:
            return Decision(Verdict.DENIED, step.source, step.why, tuple(steps))
    last = next((step for step in reversed(steps) if not step.dry_run), None)
    unknown = next((step for step in steps if step.outcome == UNKNOWN and not step.dry_run), None)
    if unknown is not None:
        return Decision(Verdict.UNKNOWN, unknown.source, unknown.why, tuple(steps))
    if last is None or last.outcome != ALLOWED:
        raise AssertionError("the last stage always decides")
    return Decision(Verdict.ALLOWED, last.source, last.why, tuple(steps))


def _steps(guard: Guard, call: Call, trust: Trust) -> Iterator[Step]:
    yield from _identity(guard, call, trust)
    if call.http:
        yield from _tokens(guard, call)
    yield from _custom(guard, call, trust.domain)
    yield from _in_doubt(guard, call, trust.domain, Action.CUSTOM)
    for rule, dry_run in _matching(guard, call, trust.domain, Action.AUDIT):
        yield Step(Stage.AUDIT, NOTED, "the rule holds, and decides nothing", rule.source, dry_run)
    for rule, dry_run in _matching(guard, call, trust.domain, Action.DENY):
        yield Step(Stage.DENY, DENIED, "a DENY rule holds", rule.source, dry_run)
    yield from _in_doubt(guard, call, trust.domain, Action.DENY)
    yield from _allow(guard, call, trust.domain)


def _identity(guard: Guard, call: Call, trust: Trust) -> Iterator[Step]:
    source = guard.mode_source
    if not call.caller:
        if guard.mode is TlsMode.STRICT:
            yield Step(Stage.TLS, DENIED, "the port takes mutual TLS only, and the caller has no identity", source)
        else:
            yield Step(Stage.TLS, PASSED, f"plaintext, and the mode is {guard.mode.value}", source)
        return
    yield Step(Stage.TLS, PASSED, f"the caller is {call.caller}", source)
    domain = call.caller.removeprefix(SCHEME).partition("/")[0]
    if not call.caller.startswith(SCHEME) or domain not in (trust.domain, *trust.federated):
        yield Step(Stage.DOMAIN, DENIED, f"trust domain {domain} is not trusted here")
    if call.caller in trust.banned:
        yield Step(Stage.BAN, DENIED, f"{call.caller} is banned")


def _tokens(guard: Guard, call: Call) -> Iterator[Step]:
    if not guard.issuers:
        return
    if call.jwt_problem:
        yield Step(Stage.TOKEN, DENIED, call.jwt_problem, guard.issuers[0].source)
    elif call.tokens:
        yield Step(Stage.TOKEN, PASSED, "the token is valid", guard.issuers[0].source)


def _custom(guard: Guard, call: Call, domain: str) -> Iterator[Step]:
    """What a rule of CUSTOM holds for is somebody else's decision; about a connection only gRPC can ask."""
    for rule, dry_run, policy in _found(guard, call, domain, Action.CUSTOM):
        name = policy.provider.name if policy.provider else "its provider"
        if policy.provider is None or not (call.http or policy.provider.grpc):
            yield Step(Stage.CUSTOM, DENIED, f"authorizer {name} cannot be asked about this", rule.source, dry_run)
        elif call.authorizer is None:
            yield Step(Stage.CUSTOM, UNKNOWN, f"authorizer {name} decides", rule.source, dry_run)
        elif call.authorizer:
            yield Step(Stage.CUSTOM, PASSED, f"authorizer {name} allows it", rule.source, dry_run)
        else:
            yield Step(Stage.CUSTOM, DENIED, f"authorizer {name} denies it", rule.source, dry_run)


def _allow(guard: Guard, call: Call, domain: str) -> Iterator[Step]:
    """Once there is an ALLOW policy, what none of them allows is denied. A policy in dry run neither allows nor closes."""
    policies = [policy for policy in guard.policies if policy.action is Action.ALLOW]
    found = list(_matching(guard, call, domain, Action.ALLOW))
    doubts = [] if any(not dry_run for _, dry_run in found) else list(_in_doubt(guard, call, domain, Action.ALLOW))
    real = [policy for policy in policies if not policy.dry_run]
    if any(policy.dry_run for policy in policies) and (found or not doubts):
        yield _tried(policies, found)
    allowing = next((rule for rule, dry_run in found if not dry_run), None)
    if allowing is not None:
        yield Step(Stage.ALLOW, ALLOWED, "an ALLOW rule holds", allowing.source)
    elif any(not each.dry_run for each in doubts):
        yield from doubts
    elif real:
        why = f"there are ALLOW policies{_several(real)}, and no rule of them holds"
        yield Step(Stage.ALLOW, DENIED, why, real[0].source if len(real) == 1 else "")
    elif guard.default_deny:
        yield Step(Stage.DEFAULT, DENIED, "no ALLOW policy allows it, and the mesh denies by default")
    else:
        yield Step(Stage.DEFAULT, ALLOWED, "no policy speaks of it, and the mesh allows by default")


def _several(policies: list[AuthPolicy]) -> str:
    """Their names, where they are more than the one that ``source`` names."""
    shown = ", ".join(each.source for each in policies[:_SHOWN])
    more = f" and {len(policies) - _SHOWN} more" if len(policies) > _SHOWN else ""
    return f" ({shown}{more})" if len(policies) > 1 else ""


def _tried(policies: list[AuthPolicy], found: list[tuple[AuthRule, bool]]) -> Step:
    """What the ALLOW policies would say if those in dry run were real."""
    if found:
        return Step(Stage.ALLOW, ALLOWED, "an ALLOW rule would hold", found[0][0].source, dry_run=True)
    source = next(policy.source for policy in policies if policy.dry_run)
    return Step(Stage.ALLOW, DENIED, "no rule of the ALLOW policies would hold", source, dry_run=True)


def _matching(guard: Guard, call: Call, domain: str, action: Action) -> Iterator[tuple[AuthRule, bool]]:
    for rule, dry_run, _ in _found(guard, call, domain, action):
        yield rule, dry_run


def _found(guard: Guard, call: Call, domain: str, action: Action) -> Iterator[tuple[AuthRule, bool, AuthPolicy]]:
    """Every rule of an action that surely holds, those in dry run last."""
    chosen = [policy for policy in guard.policies if policy.action is action]
    doubted = dict.fromkeys(set_by_proxies(guard, call), False)
    for policy in sorted(chosen, key=lambda each: each.dry_run):
        for rule in policy.rules:
            if rule_holds(rule, call, domain, refuses=action is not Action.ALLOW, said=doubted):
                yield rule, policy.dry_run, policy


def _in_doubt(guard: Guard, call: Call, domain: str, action: Action) -> Iterator[Step]:
    """Rules of an action that hold or do not, by what a proxy wrote into a header that they ask for."""
    ours = set_by_proxies(guard, call)
    yes, no = dict.fromkeys(ours, True), dict.fromkeys(ours, False)
    for policy in guard.policies:
        for rule in policy.rules if policy.action is action else ():
            refuses = action is not Action.ALLOW
            if rule_holds(rule, call, domain, refuses=refuses, said=yes) and not rule_holds(
                rule, call, domain, refuses=refuses, said=no
            ):
                asked = sorted({each.name for each in rule.questions if _header(each) in ours})
                why = f"the rule asks for {', '.join(asked)}, which proxies set themselves: it cannot be decided here"
                yield Step(Stage[action.name], UNKNOWN, why, rule.source, policy.dry_run)


def _header(question: Question) -> str:
    return plainly(question.name) if question.attribute is Attribute.HEADER else ""


def rule_holds(
    rule: AuthRule, call: Call, domain: str, *, refuses: bool, said: Mapping[str, bool] = MappingProxyType({})
) -> bool:
    """One of the sources, one of the operations, and all of the conditions. ``said``: names of headers, ``plainly``, and whether
    what is asked about them shall be true, whatever the call says.
    """

    def group(questions: tuple[Question, ...]) -> bool:
        return all(_asked(question, call, domain, said, refuses=refuses) for question in questions)

    sources = not rule.sources or any(map(group, rule.sources))
    operations = not rule.operations or any(map(group, rule.operations))
    return sources and operations and group(rule.conditions)


def _asked(question: Question, call: Call, domain: str, said: Mapping[str, bool], *, refuses: bool) -> bool:
    """A question about requests, asked of a connection: it is left out of a rule that refuses, and one that allows does not
    hold. Source: Istio, "Authorization Policy Conditions" and the security concepts on TCP.
    """
    if question.attribute.is_http and not call.http:
        return refuses
    known = said.get(_header(question))
    return holds(question, call, domain, refuses=refuses) if known is None else known
