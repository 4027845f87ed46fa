"""Whom a change of policy newly shuts out: the first ALLOW policy of a workload denies everybody else, STRICT all plaintext.

Asked about identities only. What a rule says of paths, methods and tokens counts as if it held: a caller is shut out when no
ALLOW rule names it any more, whatever it asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.explain.asking import holds
from weft.explain.call import Call
from weft.explain.subjects import shown_name
from weft.model.identity import identity_of
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Question, TlsMode
from weft.names import workload_of

if TYPE_CHECKING:
    from weft.model.mesh import Mesh
    from weft.model.service import Workload

ABOUT_IDENTITY: Final = frozenset(
    {Attribute.PRINCIPAL, Attribute.NAMESPACE, Attribute.SERVICE_ACCOUNT, Attribute.TRUST_DOMAIN}
)
MOST: Final = 200
"""Ports that are named; who reads more has stopped reading."""


class Closed(msgspec.Struct, frozen=True):
    """One port of one workload. ``services`` lead to it (``name.namespace``); ``callers`` (``namespace/name``) may not call any
    more; none of them: only plaintext is shut out. ``source`` is the policy that does it.
    """

    workload: str
    port: int
    services: tuple[str, ...]
    source: str
    callers: tuple[str, ...] = ()


def closed(before: Mesh, after: Mesh) -> tuple[Closed, ...]:
    """What ``after`` shuts out and ``before`` did not, by workload and port; instances that are alike once."""
    callers = sorted({(shown_name(each), identity_of(each, before.trust.domain)) for each in _callers(before)})
    services: dict[str, set[str]] = {}
    for (key, _), endpoints in after.endpoints.items():
        for endpoint in endpoints:
            services.setdefault(workload_of(endpoint.workload), set()).add(str(key))
    found: dict[Closed, None] = {}
    for (namespace, name), guards in sorted(after.guards.items()):
        was = dict(before.guards.get((namespace, name), ()))
        workload = f"{namespace}/{workload_of(name)}"
        for port, guard in guards:
            old = was.get(port)
            if old is None or old == guard:
                continue
            behind = tuple(sorted(services.get(workload, ())))
            if guard.mode is TlsMode.STRICT and old.mode is not TlsMode.STRICT:
                found[Closed(workload, port, behind, guard.mode_source)] = None
            shut = tuple(
                dict.fromkeys(
                    caller
                    for caller, identity in callers
                    if _may(old, identity, port, before.trust.domain)
                    and not _may(guard, identity, port, after.trust.domain)
                )
            )
            if shut:
                found[Closed(workload, port, behind, _source(guard), shut)] = None
    return tuple(found)[:MOST]


def _callers(mesh: Mesh) -> list[Workload]:
    """Who calls with an identity."""
    return [each for each in mesh.proxies.values() if each.captured]


def _allowing(guard: Guard) -> list[AuthPolicy]:
    return [policy for policy in guard.policies if policy.action is Action.ALLOW and not policy.dry_run]


def _source(guard: Guard) -> str:
    return next((policy.source for policy in _allowing(guard)), "Mesh")


def _may(guard: Guard, identity: str, port: int, domain: str) -> bool:
    policies = _allowing(guard)
    if not policies:
        return not guard.default_deny
    call = Call(caller=identity, port=port)
    return any(_could(rule, call, domain) for policy in policies for rule in policy.rules)


def _could(rule: AuthRule, call: Call, domain: str) -> bool:
    """Whether a rule may hold for a caller, whatever the rest of its call is."""

    def group(questions: tuple[Question, ...]) -> bool:
        return all(holds(each, call, domain, refuses=False) for each in questions if each.attribute in ABOUT_IDENTITY)

    return (not rule.sources or any(map(group, rule.sources))) and group(rule.conditions)
