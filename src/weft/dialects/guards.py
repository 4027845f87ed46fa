"""What guards each port of each workload, and each Gateway: every policy that holds there, in the order of names.

Workloads that are alike are one ``Subject``, and what guards it is made once: it depends on what holds for it and on nothing
else. Costs are those of what changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from weft.dialects.istio.peer_authentication import mode_at
from weft.dialects.policies import Placed, PlacedIssuers, Subject, SubjectPort, at, at_port
from weft.dialects.reach import Applying, Lookup, NamespaceRules, lookup, namespace_rules
from weft.dialects.security import Security
from weft.model.identity import DEFAULT_ACCOUNT
from weft.model.service import HostReport, Placement
from weft.model.trust import Attribute, AuthPolicy, Guard, TokenIssuer
from weft.names import ServiceKey, gateway_account

if TYPE_CHECKING:
    from weft.memo import Memo
    from weft.model.mesh import ProcessSpec
    from weft.model.service import Workload

GATEWAY_LABELS: Final = ("gateway.networking.k8s.io/gateway-name", "istio.io/gateway-name")
"""Labels by which selectors find a Gateway's proxy. Source: GEP-1762, and Istio before it."""


class Member(msgspec.Struct, frozen=True, cache_hash=True):
    """A kind of workload; ``proxied``: a proxy of ours stands before it."""

    subject: Subject
    proxied: bool


class HostMembers(msgspec.Struct, frozen=True):
    """The workloads of a host by namespace and name, each as a kind. Equal while only their states change."""

    members: Mapping[tuple[str, str], Member]


class Note(msgspec.Struct, frozen=True, cache_hash=True, order=True):
    """Something about a policy that shows where it holds: ``connections`` (a rule asks less at a port that does not speak HTTP),
    ``authorizer`` (one by HTTP, which is not asked about connections), ``address`` (an address that is not seen at a workload).
    """

    kind: str
    source: str
    port: int = 0


class Guarded(msgspec.Struct, frozen=True, eq=False):
    """What guards one subject. Compared by identity.

    ``ports`` are (port, guard), a Gateway's under port 0; ``matched`` are the objects that hold for it.
    """

    subject: Subject
    ports: tuple[tuple[int, Guard], ...]
    matched: tuple[str, ...]
    notes: tuple[Note, ...]


class Guards(msgspec.Struct, frozen=True, eq=False):
    """What guards everything. Compared by identity."""

    workloads: Mapping[tuple[str, str], tuple[tuple[int, Guard], ...]]
    gateways: Mapping[tuple[str, str], Guard]
    members: tuple[Member, ...]
    """Every kind of workload once, those that were only declared too."""
    guarded: Mapping[Subject, Guarded]
    """Every kind of workload and every Gateway."""
    http: tuple[Guard, ...]
    """The guards of ports that speak HTTP, each once."""


class GuardsInput(msgspec.Struct, frozen=True):
    """Whom to guard, and what there is to guard with."""

    hosts: tuple[HostMembers, ...]
    declared: tuple[Member, ...]
    gateways: tuple[Subject, ...]
    security: Security
    default_deny: bool


def guards(made: GuardsInput, memo: Memo) -> Guards:
    """What guards each workload, each Gateway, and each kind of workload that is still to come."""
    lookups: dict[str, Lookup] = {}

    def of(subject: Subject) -> Guarded:
        found = lookups.get(subject.namespace)
        if found is None:
            rules = namespace_rules(made.security, subject.namespace, made.default_deny)
            found = lookups[subject.namespace] = memo.stage(_lookup, rules, subject.namespace)
        return memo(guarded, found.of(subject))

    members = dict.fromkeys((*made.declared, *(each for host in made.hosts for each in host.members.values())))
    found = {subject: of(subject) for subject in (*(member.subject for member in members), *made.gateways)}
    return Guards(
        workloads=MappingProxyType(
            {key: found[each.subject].ports for host in made.hosts for key, each in host.members.items()}
        ),
        gateways=MappingProxyType({_name(subject): found[subject].ports[0][1] for subject in made.gateways}),
        members=tuple(members),
        guarded=MappingProxyType(found),
        http=tuple(dict.fromkeys(guard for each in found.values() for guard in _of_requests(each))),
    )


def _of_requests(each: Guarded) -> Iterable[Guard]:
    spoken = {port.number: port.is_http for port in each.subject.ports}
    return (guard for number, guard in each.ports if spoken.get(number, True))


def _lookup(rules: NamespaceRules, _: Memo) -> Lookup:
    return lookup(rules)


def _name(subject: Subject) -> tuple[str, str]:
    namespace, _, name = subject.gateway.partition("/")
    return namespace, name


def host_members(key: tuple[HostReport, frozenset[ServiceKey]], _: Memo) -> HostMembers:
    """The workloads of a host. ``key`` has beside it the services whose applications want to know who calls."""
    report, identity_headers = key
    members = {
        (each.namespace, each.name): Member(
            _subject(each, identity_headers, told=each.identity_header),
            each.proxied,
        )
        for each in report.workloads
        if each.placement is Placement.SIDECAR
    }
    return HostMembers(members)


def declared_members(key: tuple[tuple[ProcessSpec, ...], frozenset[ServiceKey]], _: Memo) -> tuple[Member, ...]:
    """What agents shall run, as kinds of workloads, so that nothing changes when they first report."""
    specs, identity_headers = key
    found = {Member(_subject(spec, identity_headers), spec.proxied): None for spec in specs}
    return tuple(found)


def _subject(each: Workload | ProcessSpec, identity_headers: frozenset[ServiceKey], *, told: bool = False) -> Subject:
    """``told``: its application hears who calls whatever its service says."""
    wanted = bool(identity_headers) and ServiceKey(each.namespace, dict(each.labels).get("app", "")) in identity_headers
    return Subject(
        namespace=each.namespace,
        labels=each.labels,
        account=f"{each.namespace}/{each.service_account or DEFAULT_ACCOUNT}",
        ports=tuple(sorted({SubjectPort(port.number, port.name, port.protocol.is_http) for port in each.ports})),
        identity_header=told or wanted,
    )


def gateway_subject(namespace: str, name: str, class_name: str) -> Subject:
    """The proxy of a Gateway."""
    return Subject(
        namespace=namespace,
        labels=tuple(sorted((label, name) for label in GATEWAY_LABELS)),
        account=f"{namespace}/{gateway_account(name)}",
        gateway=f"{namespace}/{name}",
        gateway_class=class_name,
    )


def guarded(applying: Applying) -> Guarded:
    """What guards one subject."""
    subject, policies, issuers = applying.subject, applying.policies, applying.issuers
    matched = [each.request.source for each in policies] + [each.ref.path for each in issuers]
    if subject.gateway:
        guard = Guard(policies=tuple(each.request for each in policies), issuers=_issuers(issuers))
        return Guarded(subject, ((0, guard),), tuple(matched), ())
    matched += [each.ref.path for each in applying.modes.workloads]
    notes = {Note("address", each.request.source) for each in policies if _asks_address(each.request)}
    ports = tuple((port.number, _guard(applying, port, notes)) for port in subject.ports)
    return Guarded(subject, ports, tuple(matched), tuple(sorted(notes)))


def _guard(applying: Applying, port: SubjectPort, notes: set[Note]) -> Guard:
    subject = applying.subject
    mode, source = mode_at(applying.modes, subject, port.number)
    found = (_policy_at(each, port, notes) for each in applying.policies if at(each.scopes, subject, port))
    issuers = [each for each in applying.issuers if at(each.scopes, subject, port)] if port.is_http else []
    return Guard(
        mode=mode,
        mode_source=source,
        policies=tuple(policy for policy in found if policy is not None),
        issuers=_issuers(issuers),
        default_deny=applying.default_deny,
        identity_header=subject.identity_header and port.is_http,
    )


def _issuers(found: Iterable[PlacedIssuers]) -> tuple[TokenIssuer, ...]:
    return tuple(sorted((issuer for each in found for issuer in each.issuers), key=_by_source))


def _by_source(issuer: TokenIssuer) -> tuple[str, int]:
    base, _, index = issuer.source.rpartition("/")
    return base, int(index)


def _policy_at(each: Placed, port: SubjectPort, notes: set[Note]) -> AuthPolicy | None:
    """A policy at one port of a workload; None when it decides nothing there."""
    policy = each.request if port.is_http else each.connection
    if policy is not None and each.asks_port:
        policy = at_port(policy, port.number)
    if port.is_http:
        return policy
    whole = at_port(each.request, port.number) if each.lost else None
    if whole is not None:
        notes.update(Note("connections", rule.source, port.number) for rule in whole.rules if rule.source in each.lost)
    if policy is None or policy.provider is None or policy.provider.grpc:
        return policy
    notes.add(Note("authorizer", policy.source, port.number))
    return None


_ADDRESSES: Final = frozenset({Attribute.IP_BLOCK, Attribute.DESTINATION_IP})


def _asks_address(policy: AuthPolicy) -> bool:
    return any(question.attribute in _ADDRESSES for rule in policy.rules for question in rule.questions)
