"""Whether a caller can tell beforehand that it will be refused for who it is, so that it can be told why.

A callee's proxy that looks at connections only (shape RAW) can but close one that it refuses, and the application would see a
503 without a reason. So the caller's proxy answers 403 with the policy's name instead of making a call that cannot succeed.
This is a courtesy: the callee enforces, whatever the caller's proxy says. Where anything about a call could still allow it,
or somebody else decides, nothing is said here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weft.model.trust import Action, Attribute, Text, TextKind

if TYPE_CHECKING:
    from weft.model.trust import AuthRule, Guard, Question

SCHEME: Final = "spiffe://"


def refusal(guards: tuple[tuple[int, Guard], ...], caller: str) -> str:
    """Why every one of ``guards``, each at its workload's port, refuses the SPIFFE ID ``caller``; empty when one may not."""
    reasons = [_refusal(guard, port, caller) for port, guard in guards]
    return reasons[0] if reasons and all(reasons) else ""


def _refusal(guard: Guard, port: int, caller: str) -> str:
    """The first sure reason; empty when there is none."""
    policies = [policy for policy in guard.policies if not policy.dry_run]
    for policy in policies:
        if policy.action is Action.DENY:
            for rule in policy.rules:
                if _holds(rule, port, caller) is True:
                    return f"{rule.source} denies it"
    allowing = [policy for policy in policies if policy.action is Action.ALLOW]
    if any(_holds(rule, port, caller) is not False for policy in allowing for rule in policy.rules):
        return ""
    if allowing:
        return f"no rule of {', '.join(policy.source for policy in allowing)} allows it"
    return "no policy allows it, and the mesh denies by default" if guard.default_deny else ""


def _holds(rule: AuthRule, port: int, caller: str) -> bool | None:
    """None: it depends on the call."""
    return _all(
        (
            _any(tuple(_group(group, port, caller) for group in rule.sources)) if rule.sources else True,
            _any(tuple(_group(group, port, caller) for group in rule.operations)) if rule.operations else True,
            _group(rule.conditions, port, caller),
        )
    )


def _group(questions: tuple[Question, ...], port: int, caller: str) -> bool | None:
    return _all(tuple(_asked(question, port, caller) for question in questions))


def _all(answers: tuple[bool | None, ...]) -> bool | None:
    if False in answers:
        return False
    return None if None in answers else True


def _any(answers: tuple[bool | None, ...]) -> bool | None:
    if True in answers:
        return True
    return None if None in answers else False


def _asked(question: Question, port: int, caller: str) -> bool | None:
    value = _value(question.attribute, port, caller)
    if value is None:
        return None
    if question.any_of and not any(_is(text, value) for text in question.any_of):
        return False
    return not any(_is(text, value) for text in question.none_of)


def _value(attribute: Attribute, port: int, caller: str) -> str | None:
    """What is known before the call is made; None for everything that the call itself decides."""
    parts = caller.removeprefix(SCHEME).split("/")
    is_workload = len(parts) == 5 and (parts[1], parts[3]) == ("ns", "sa")
    if attribute is Attribute.PORT:
        return str(port)
    if attribute is Attribute.PRINCIPAL:
        return caller.removeprefix(SCHEME)
    if attribute is Attribute.TRUST_DOMAIN:
        return parts[0]
    if attribute is Attribute.NAMESPACE and is_workload:
        return parts[2]
    if attribute is Attribute.SERVICE_ACCOUNT and is_workload:
        return f"{parts[2]}/{parts[4]}"
    return None


def _is(text: Text, value: str) -> bool:
    wanted = text.value.removeprefix(SCHEME)
    match text.kind:
        case TextKind.PREFIX:
            return value.startswith(wanted)
        case TextKind.SUFFIX:
            return value.endswith(wanted)
        case TextKind.PRESENT:
            return bool(value)
        case _:
            return value == wanted
