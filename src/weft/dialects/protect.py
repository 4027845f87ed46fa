"""All that compiling has to do for security, stage after stage: read, guard, tell callers, and say what is odd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from weft.api.decode import Decoded
from weft.api.gateway import Gateway
from weft.dialects.core.endpoints import Target
from weft.dialects.core.services import Catalogue
from weft.dialects.gateway.edges import EXPOSED
from weft.dialects.gateway.listeners import CLASS
from weft.dialects.guards import (
    Guards,
    GuardsInput,
    HostMembers,
    declared_members,
    gateway_subject,
    guards,
    host_members,
)
from weft.dialects.istio.authorization import Domains
from weft.dialects.mesh.security import MergedSecurity, usable
from weft.dialects.peers import World, peers
from weft.dialects.policy_findings import Named, policy_findings
from weft.dialects.security import Around, Security, read_security, targeted
from weft.dialects.values import Finding, Input
from weft.model.mesh import ProcessSpec
from weft.model.status import Status
from weft.model.trust import Peers, TlsMode
from weft.names import ServiceKey, peer_name

if TYPE_CHECKING:
    from weft.memo import Memo
    from weft.model.service import HostReport


AROUND: Final = ("Gateway", "ServiceAccount")
"""Kinds that policies refer to."""


class Written(msgspec.Struct, frozen=True, eq=False):
    """The objects of ``security.KINDS`` and of ``AROUND``, kind by kind in their order, each sorted by name."""

    objects: tuple[tuple[Decoded, ...], ...]
    around: tuple[tuple[Decoded, ...], ...]


class Unprotected(msgspec.Struct, frozen=True, eq=False):
    """The mesh as far as it is compiled without security."""

    written: Written
    world: Input
    merged: MergedSecurity
    catalogue: Catalogue
    sliced: frozenset[Target]
    gateways: tuple[tuple[str, str], ...]
    processes: tuple[ProcessSpec, ...]


class Protected(msgspec.Struct, frozen=True, eq=False):
    """What security adds to the mesh. ``clear`` are the names of endpoints whose proxies take no TLS."""

    guards: Guards
    peers: Mapping[Target, Peers]
    clear: frozenset[str]
    findings: tuple[Finding, ...]
    statuses: tuple[Status, ...]
    wanted_keys: tuple[str, ...]


def protect(made: Unprotected, memo: Memo) -> Protected:
    """Each stage runs again only when what it is made of has changed."""
    world, (gateways, accounts) = made.world, made.written.around
    refused = memo.stage(_refused_providers, (made.merged, made.catalogue))
    classes = memo.stage(_gateway_classes, (gateways, made.gateways))
    around = Around(
        domains=Domains(world.trust.domain, made.merged.aliases),
        services=tuple((key, made.catalogue.services.get(key)) for key in memo.stage(_targeted, made.written.objects)),
        gateways=tuple((f"{namespace}/{name}", class_name) for (namespace, name), class_name in classes),
        providers=made.merged.providers,
        unusable=tuple(name for name, _ in refused),
        keys=world.keys,
    )
    security = memo.stage(read_security, (made.written.objects, around))
    found = memo.stage(guards, _whom(made, classes, security, memo))
    several = len([host for host in world.hosts if host.address]) > 1
    return Protected(
        guards=found,
        peers=memo.stage(peers, World(found, made.catalogue, made.sliced, world.trust)),
        clear=memo.stage(_clear, (found, world.hosts)),
        findings=(
            *(finding for _, finding in refused),
            *security.findings,
            *memo.stage(policy_findings, Named(security, found, accounts, world.trust.domain, several)),
        ),
        statuses=security.statuses,
        wanted_keys=security.wanted_keys,
    )


def _whom(
    made: Unprotected, classes: tuple[tuple[tuple[str, str], str], ...], security: Security, memo: Memo
) -> GuardsInput:
    headers = frozenset(made.merged.identity_headers)
    hosts = []
    for report in sorted(made.world.hosts, key=lambda host: host.host):
        fresh = memo.stage(host_members, (report, headers), report.host)
        hosts.append(memo.stage(_same_members, fresh, report.host))
    return GuardsInput(
        hosts=tuple(hosts),
        declared=memo.stage(declared_members, (made.processes, headers)),
        gateways=tuple(gateway_subject(namespace, name, class_name) for (namespace, name), class_name in classes),
        security=security,
        default_deny=made.merged.default_deny,
    )


def _targeted(objects: tuple[tuple[Decoded, ...], ...], _: Memo) -> tuple[ServiceKey, ...]:
    return targeted(objects)


def _same_members(members: HostMembers, _: Memo) -> HostMembers:
    """The same object as before while only states of ports change."""
    return members


def _refused_providers(key: tuple[MergedSecurity, Catalogue], _: Memo) -> tuple[tuple[str, Finding], ...]:
    merged, catalogue = key
    found = ((spec.provider.name, usable(spec, catalogue.services)) for spec in merged.providers)
    return tuple((name, finding) for name, finding in found if finding is not None)


def _gateway_classes(
    key: tuple[tuple[Decoded, ...], tuple[tuple[str, str], ...]], _: Memo
) -> tuple[tuple[tuple[str, str], str], ...]:
    """The class of each Gateway that is ours; what Mesh documents expose is of our own class."""
    objects, gateways = key
    written = {
        (each.document.ref.namespace, each.document.ref.name): each.object.spec.gateway_class_name
        for each in objects
        if isinstance(each.object, Gateway)
    }
    return tuple((where, CLASS if where[1] == EXPOSED else written.get(where, CLASS)) for where in gateways)


def _clear(key: tuple[Guards, tuple[HostReport, ...]], _: Memo) -> frozenset[str]:
    """The endpoints of ports in mode DISABLE, by the names that their proxies would have."""
    found, hosts = key
    closed = {
        (*where, port)
        for where, ports in found.workloads.items()
        for port, guard in ports
        if guard.mode is TlsMode.DISABLE
    }
    if not closed:
        return frozenset()
    return frozenset(
        peer_name(port.number, each.name, each.namespace, each.host)
        for host in hosts
        for each in host.workloads
        for port in each.ports
        if (each.namespace, each.name, port.number) in closed
    )
