"""How callers reach each port of each service: which identities may answer, and in which shape bytes travel.

What an agent shall run counts as well as what it has reported, so that callers expect an identity before the first report.
Source: ARCHITECTURE.md, "Shapes"; ``model.trust.Peers``.
"""

from __future__ import annotations

from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from weft.dialects.core.endpoints import Selectors, Target, chosen
from weft.dialects.core.services import Catalogue
from weft.dialects.guards import Guards
from weft.model.service import Protocol
from weft.model.trust import Action, Guard, Peers, Shape, TlsMode, Trust
from weft.names import spiffe_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from weft.dialects.guards import Member
    from weft.dialects.policies import Subject, SubjectPort
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


class PeersInput(msgspec.Struct, frozen=True, cache_hash=True):
    """``plain``: an EndpointSlice brings addresses without a proxy. ``behind`` in an order that its content decides."""

    is_http: bool
    plain: bool
    behind: tuple[Behind, ...]
    trust: Trust


class World(msgspec.Struct, frozen=True):
    """What peers are made of; ``sliced`` are the targets to which EndpointSlices bring addresses."""

    guards: Guards
    selectors: Selectors
    catalogue: Catalogue
    sliced: frozenset[Target]
    trust: Trust


def peers(world: World, memo: Memo) -> Mapping[Target, Peers]:
    """Of every port of every service inside the mesh, UDP excepted."""
    behind: dict[Target, dict[Behind, None]] = {}
    for member in world.guards.members:
        for target, each in _targets(member, world):
            behind.setdefault(target, {})[each] = None
    made: dict[Target, Peers] = {}
    for key, service in world.catalogue.services.items():
        for port in () if service.external else service.ports:
            if port.protocol is not Protocol.UDP:
                target = (key, port.number)
                found = tuple(behind.get(target, ()))
                ordered = tuple(sorted(found, key=_order)) if len(found) > 1 else found
                is_http, plain = port.protocol.is_http, target in world.sliced
                made[target] = memo(make_peers, PeersInput(is_http, plain, ordered, world.trust))
    return MappingProxyType(made)


def _targets(member: Member, world: World) -> Iterable[tuple[Target, Behind]]:
    subject = member.subject
    guards = dict(world.guards.guarded[subject].ports)
    for service in chosen(subject.namespace, subject.labels, world.selectors):
        for port in service.ports:
            listening = _listening(subject, port)
            if listening is not None:
                found = Behind(subject.account, member.proxied, listening.is_http, guards[listening.number])
                yield (service.key, port.number), found


def _listening(subject: Subject, port: ServicePort) -> SubjectPort | None:
    """The port of a workload that a service's port leads to."""
    return next((each for each in subject.ports if port.target in (each.number, each.name)), None)


def _order(behind: Behind) -> tuple[str, bool, bool, bytes]:
    return behind.account, behind.proxied, behind.is_http, msgspec.json.encode(behind.guard)


def make_peers(made: PeersInput) -> Peers:
    """One port of one service."""
    secured = [each for each in made.behind if each.proxied and each.guard.mode is not TlsMode.DISABLE]
    if not secured:
        return Peers(why=_why_plain(made))
    mixed = made.plain or len(secured) < len(made.behind)
    shape, why = _shape(made, secured, mixed)
    accounts = (each.account.partition("/") for each in secured)
    identities = {spiffe_id(made.trust.domain, namespace, account) for namespace, _, account in accounts}
    return Peers(tuple(sorted(identities)), shape, mixed, _epoch(shape, secured, made.trust.banned), why)


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
        return Shape.TUNNEL, "opaque TCP"
    if not all(each.is_http for each in secured):
        return Shape.RAW, "what is behind it does not say that it speaks HTTP"
    why = next((each.guard.why_http for each in secured if each.guard.needs_http), "")
    return (Shape.HTTP, why) if why else (Shape.RAW, "nothing asks about requests")


def _epoch(shape: Shape, secured: list[Behind], banned: tuple[str, ...]) -> str:
    """A name for all that is decided once for a whole connection; empty when nothing is."""
    guards = [] if shape is Shape.HTTP else [_decided(each.guard) for each in secured]
    if not banned and not any(guards):
        return ""
    return sha256(msgspec.json.encode((guards, banned))).hexdigest()[:_EPOCH]


def _decided(guard: Guard) -> tuple[object, ...]:
    policies = tuple(policy for policy in guard.policies if not policy.dry_run and policy.action is not Action.AUDIT)
    return (guard.default_deny, policies) if policies or guard.default_deny else ()
