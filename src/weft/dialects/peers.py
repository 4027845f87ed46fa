"""How callers reach each port of each service: which identities may answer, and in which shape bytes travel.

What an agent shall run counts as well as what it has reported, so that callers expect an identity before the first report.
Source: ARCHITECTURE.md, "Shapes"; ``model.trust.Peers``.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from weft.dialects.core.endpoints import BUCKETS, Target, bucket
from weft.dialects.core.services import Catalogue
from weft.dialects.guards import Guarded, Guards, Member
from weft.dialects.policies import Subject
from weft.model.service import Protocol, Service
from weft.model.trust import Action, Guard, Peers, Shape, TlsMode, Trust
from weft.names import spiffe_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weft.dialects.policies import SubjectPort
    from weft.memo import Memo
    from weft.model.service import ServicePort

_EPOCH: Final = 12
"""Characters of an epoch, hexadecimal: two of a million do not collide."""


class Behind(msgspec.Struct, frozen=True, cache_hash=True):
    """One port of one kind of workload behind a service."""

    account: str
    proxied: bool
    is_http: bool
    guard: Guard
    port: int = 0


class PeersInput(msgspec.Struct, frozen=True, cache_hash=True):
    """``plain``: an EndpointSlice brings addresses without a proxy. ``behind`` in an order that its content decides."""

    is_http: bool
    plain: bool
    behind: tuple[Behind, ...]
    trust: Trust


class World(msgspec.Struct, frozen=True):
    """What peers are made of; ``sliced`` are the targets to which EndpointSlices bring addresses."""

    guards: Guards
    catalogue: Catalogue
    sliced: frozenset[Target]
    trust: Trust


class Members(msgspec.Struct, frozen=True, eq=False):
    """Every kind of workload by namespace and each of its labels. Compared by identity."""

    by_label: Mapping[tuple[str, str, str], tuple[Member, ...]]
    guarded: Mapping[Subject, Guarded]


class PartInput(msgspec.Struct, frozen=True):
    """Some services, and what they are matched with."""

    services: tuple[Service, ...]
    members: Members
    sliced: frozenset[Target]
    trust: Trust


def peers(world: World, memo: Memo) -> Mapping[Target, Peers]:
    """Of every port of every service inside the mesh, UDP excepted. One more service makes one of the parts run again."""
    members = memo.stage(_members, world.guards)
    made: dict[Target, Peers] = {}
    for number, services in enumerate(memo.stage(_in_parts, world.catalogue)):
        if services:
            part = PartInput(services, members, world.sliced, world.trust)
            made.update(memo.stage(_part, part, number))
    return MappingProxyType(made)


def _in_parts(catalogue: Catalogue, _: Memo) -> tuple[tuple[Service, ...], ...]:
    parts: list[list[Service]] = [[] for _ in range(BUCKETS)]
    for key, service in catalogue.services.items():
        if not service.external:
            parts[bucket(key)].append(service)
    return tuple(tuple(part) for part in parts)


def _members(guards: Guards, _: Memo) -> Members:
    found: dict[tuple[str, str, str], list[Member]] = {}
    for member in guards.members:
        for name, value in member.subject.labels:
            found.setdefault((member.subject.namespace, name, value), []).append(member)
    return Members({label: tuple(members) for label, members in found.items()}, guards.guarded)


def _part(part: PartInput, memo: Memo) -> Mapping[Target, Peers]:
    made: dict[Target, Peers] = {}
    for service in part.services:
        members = _selected(service, part.members)
        for port in service.ports:
            if port.protocol is not Protocol.UDP:
                found = tuple(dict.fromkeys(_behind(port, members, part.members.guarded)))
                ordered = tuple(sorted(found, key=_order)) if len(found) > 1 else found
                target = (service.key, port.number)
                is_http, plain = port.protocol.is_http, target in part.sliced
                made[target] = memo(make_peers, PeersInput(is_http, plain, ordered, part.trust))
    return made


def _selected(service: Service, members: Members) -> tuple[Member, ...]:
    """The kinds of workloads behind a service. Without a selector, as in Kubernetes, there are none."""
    if not service.selector:
        return ()
    wanted = set(service.selector)
    candidates = members.by_label.get((service.key.namespace, *service.selector[-1]), ())
    return tuple([member for member in candidates if wanted.issubset(member.subject.labels)])


def _behind(port: ServicePort, members: tuple[Member, ...], guarded: Mapping[Subject, Guarded]) -> Iterable[Behind]:
    for member in members:
        subject = member.subject
        listening = _listening(subject, port)
        if listening is not None:
            guard = next(guard for number, guard in guarded[subject].ports if number == listening.number)
            yield Behind(subject.account, member.proxied, listening.is_http, guard, listening.number)


def _listening(subject: Subject, port: ServicePort) -> SubjectPort | None:
    """The port of a workload that a service's port leads to."""
    return next((each for each in subject.ports if port.target in (each.number, each.name)), None)


def _order(behind: Behind) -> tuple[str, int, bool, bool, bytes]:
    return behind.account, behind.port, behind.proxied, behind.is_http, msgspec.json.encode(behind.guard)


def make_peers(made: PeersInput) -> Peers:
    """One port of one service."""
    secured = [each for each in made.behind if each.proxied and each.guard.mode is not TlsMode.DISABLE]
    if not secured:
        return Peers(why=_why_plain(made), disabled=any(each.proxied for each in made.behind))
    mixed = made.plain or len(secured) < len(made.behind)
    shape, why = _shape(made, secured, mixed)
    accounts = (each.account.partition("/") for each in secured)
    identities = {spiffe_id(made.trust.domain, namespace, account) for namespace, _, account in accounts}
    epoch, choosy = _epoch(shape, secured, made.trust.banned), () if mixed else _choosy(secured)
    speaks_http = made.is_http and not mixed and all(each.is_http for each in secured)
    return Peers(tuple(sorted(identities)), shape, mixed, epoch, why, choosy, speaks_http)


def _choosy(secured: list[Behind]) -> tuple[tuple[int, Guard], ...]:
    """The guards, where all of them ask who calls; empty when a call to one of the workloads might pass in any case."""
    if not all(each.guard.default_deny or each.guard.policies for each in secured):
        return ()
    return tuple(dict.fromkeys((each.port, each.guard) for each in secured))


def _why_plain(made: PeersInput) -> str:
    disabled = next((each.guard.mode_source or "mutual TLS is disabled" for each in made.behind if each.proxied), "")
    return disabled or ("nothing behind it has a proxy" if made.behind or made.plain else "nothing is behind it")


def _shape(made: PeersInput, secured: list[Behind], mixed: bool) -> tuple[Shape, str]:
    """RAW is right for every callee, because its own proxy decides how much it must understand: the others save work."""
    if mixed:
        return Shape.RAW, "some of what is behind it has no proxy"
    if not made.is_http:
        if any(each.is_http for each in secured):
            return Shape.RAW, "what is behind it speaks HTTP, and the service does not say so"
        asked = next((source for each in secured if (source := _asks_somebody(each.guard))), "")
        if asked:
            return Shape.RAW, asked
        return Shape.TUNNEL, "opaque TCP"
    if not all(each.is_http for each in secured):
        return Shape.RAW, "what is behind it does not say that it speaks HTTP"
    why = next((each.guard.why_http for each in secured if each.guard.needs_http), "")
    return (Shape.HTTP, why) if why else (Shape.RAW, "nothing asks about requests")


def _asks_somebody(guard: Guard) -> str:
    """The policy by which an authorizer is asked about each connection, which is not to be one about many in a tunnel."""
    found = (each.source for each in guard.policies if each.action is Action.CUSTOM and not each.dry_run)
    return next(found, "")


def _epoch(shape: Shape, secured: list[Behind], banned: tuple[str, ...]) -> str:
    """A name for all that is decided once for a whole connection; empty when nothing is."""
    guards = [] if shape is Shape.HTTP else [_decided(each.guard) for each in secured]
    if not banned and not any(guards):
        return ""
    return sha256(msgspec.json.encode((guards, banned))).hexdigest()[:_EPOCH]


def _decided(guard: Guard) -> tuple[object, ...]:
    policies = tuple(policy for policy in guard.policies if not policy.dry_run and policy.action is not Action.AUDIT)
    return (guard.default_deny, policies) if policies or guard.default_deny else ()
