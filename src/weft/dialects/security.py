"""Everything that is written about security, read and put in its place, before anybody asks whom it concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from weft.api.istio_authorization import AuthorizationPolicy
from weft.api.istio_security import PeerAuthentication, RequestAuthentication
from weft.api.smi import HTTPRouteGroup, TCPRoute, TrafficTarget
from weft.dialects.istio.authorization import Domains, read_policy
from weft.dialects.istio.peer_authentication import Modes, PeerSpec, read_peer, sort_out
from weft.dialects.istio.tokens import keys_uri, read_tokens
from weft.dialects.mesh.security import ProviderSpec
from weft.dialects.policies import ROOTS, Placed, PlacedIssuers, Scope, placed
from weft.dialects.smi.traffic_target import Described, read_target
from weft.dialects.values import Finding
from weft.errors import Severity, nearest
from weft.model.service import Service
from weft.model.status import FALSE, TRUE, Condition, Status
from weft.model.trust import Action, AuthPolicy, KeySet
from weft.names import ServiceKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weft.api.base import Object
    from weft.api.decode import Decoded
    from weft.api.istio_security import Targeted, TargetRef
    from weft.memo import Memo
    from weft.values import Ref

T = TypeVar("T")
P = TypeVar("P", Placed, PlacedIssuers)

KINDS: Final = (
    "PeerAuthentication",
    "AuthorizationPolicy",
    "RequestAuthentication",
    "TrafficTarget",
    "HTTPRouteGroup",
    "TCPRoute",
)


class Around(msgspec.Struct, frozen=True):
    """What policies refer to, and nothing else, so that other changes leave them alone."""

    domains: Domains
    services: tuple[tuple[ServiceKey, Service | None], ...]
    gateways: tuple[tuple[str, str], ...]
    """``namespace/name`` and class of each."""
    providers: tuple[ProviderSpec, ...]
    unusable: tuple[str, ...]
    """Providers that cannot be asked."""
    keys: tuple[KeySet, ...]


class Security(msgspec.Struct, frozen=True, eq=False):
    """Policies and issuers sorted by their names. Compared by identity."""

    policies: tuple[Placed, ...]
    issuers: tuple[PlacedIssuers, ...]
    modes: Modes
    findings: tuple[Finding, ...]
    statuses: tuple[Status, ...]
    wanted_keys: tuple[str, ...]


def targeted(objects: tuple[tuple[Decoded, ...], ...]) -> tuple[ServiceKey, ...]:
    """The services that policies are attached to."""
    found = {
        ServiceKey(decoded.document.ref.namespace, target.name)
        for group in objects
        for decoded in group
        if isinstance(decoded.object, (AuthorizationPolicy, RequestAuthentication))
        for _, target in decoded.object.spec.targets
        if target.kind == "Service"
    }
    return tuple(sorted(found))


def read_security(key: tuple[tuple[tuple[Decoded, ...], ...], Around], memo: Memo) -> Security:
    """All objects of ``KINDS``, in that order, each sorted by name."""
    objects, around = key
    reader = _Reader(around, Described(_by_name(objects[4], HTTPRouteGroup), _by_name(objects[5], TCPRoute)))
    for group in objects[:4]:
        for decoded in group:
            if decoded.object is not None:
                reader.read(decoded.document.ref, decoded.object)
    modes = sort_out(reader.peers)
    return Security(
        policies=tuple(memo(_same, each) for each in sorted(reader.policies, key=lambda each: each.request.source)),
        issuers=tuple(memo(_same, each) for each in reader.issuers),
        modes=modes,
        findings=(*reader.findings, *modes.findings),
        statuses=tuple(reader.statuses),
        wanted_keys=tuple(sorted(reader.wanted)),
    )


def _same(each: P) -> P:
    """The object of before while it is equal: comparing what is made of it costs nothing then."""
    return each


def _by_name(group: Iterable[Decoded], kind: type[T]) -> dict[tuple[str, str], T]:
    found = ((each.document.ref, each.object) for each in group)
    return {(ref.namespace, ref.name): written for ref, written in found if isinstance(written, kind)}


class _Reader:
    """Reads one object after the other."""

    def __init__(self, around: Around, described: Described) -> None:
        self.around = around
        self.described = described
        self.services = dict(around.services)
        self.gateways = dict(around.gateways)
        self.providers = {spec.provider.name: spec for spec in around.providers}
        self.keys = {each.uri: each for each in around.keys}
        self.policies: list[Placed] = []
        self.issuers: list[PlacedIssuers] = []
        self.peers: list[PeerSpec] = []
        self.findings: list[Finding] = []
        self.statuses: list[Status] = []
        self.wanted: set[str] = set()

    def read(self, ref: Ref, written: Object) -> None:
        before = len(self.findings)
        if isinstance(written, PeerAuthentication):
            self.peers.append(read_peer(ref, written))
        elif isinstance(written, AuthorizationPolicy):
            self.policy(ref, written)
        elif isinstance(written, RequestAuthentication):
            self.tokens(ref, written)
        elif isinstance(written, TrafficTarget):
            policy, findings = read_target(ref, written, self.described, self.around.domains)
            self.findings.extend(findings)
            self.policies.extend([policy] if policy else [])
        found = [each for each in self.findings[before:] if each.severity is Severity.ERROR]
        self.statuses.append(Status(ref, written.metadata.generation, (_accepted(found),)))

    def policy(self, ref: Ref, written: AuthorizationPolicy) -> None:
        policy = read_policy(ref, written, self.around.domains)
        if written.spec.provider is not None:
            policy = self.provided(ref, written.spec.provider.name, policy)
        self.policies.append(placed(ref, self.scopes(ref, written.spec), policy))

    def provided(self, ref: Ref, name: str, policy: AuthPolicy) -> AuthPolicy:
        """The policy with its provider. Without one that can be asked, what it would be asked about is refused."""
        spec = self.providers.get(name)
        if spec is not None and name not in self.around.unusable:
            return msgspec.structs.replace(policy, provider=spec.provider)
        if spec is None:
            self.findings.append(_no_provider(ref, name, tuple(self.providers)))
        return msgspec.structs.replace(policy, action=Action.DENY)

    def tokens(self, ref: Ref, written: RequestAuthentication) -> None:
        self.wanted.update(uri for rule in written.spec.jwt_rules if (uri := keys_uri(rule)))
        issuers, findings = read_tokens(ref, written, self.keys)
        self.findings.extend(findings)
        if issuers:
            self.issuers.append(PlacedIssuers(ref, self.scopes(ref, written.spec), issuers))

    def scopes(self, ref: Ref, spec: Targeted) -> tuple[Scope, ...]:
        """Where a policy holds. A target that is not there holds nowhere, and never everywhere."""
        if not spec.targets:
            return (Scope(namespace="" if ref.namespace in ROOTS else ref.namespace, labels=spec.labels),)
        found = []
        for field, target in spec.targets:
            made = self.target(ref, target)
            if isinstance(made, Scope):
                found.append(made)
            else:
                message, remedy = made
                self.findings.append(
                    Finding(code="WFT-1227", ref=ref, field=f"spec.{field}.name", message=message, remedy=remedy)
                )
        return tuple(found)

    def target(self, ref: Ref, target: TargetRef) -> Scope | tuple[str, str]:
        """A scope, or what is wrong and its remedy."""
        if target.namespace not in (None, ref.namespace):
            message = f"a policy of namespace {ref.namespace} cannot be attached to anything in {target.namespace}"
            return message, f"Move the policy to namespace {target.namespace}"
        if target.kind == "GatewayClass":
            if ref.namespace not in ROOTS:
                message = "a policy is attached to a GatewayClass in a root namespace alone: it holds in the whole mesh"
                return message, f"Move the policy to namespace {ROOTS[-1]}, or target a Gateway"
            return Scope(gateway_class=target.name)
        where = f"{ref.namespace}/{target.name}"
        if target.kind == "Gateway":
            if where in self.gateways:
                return Scope(gateway=where)
            near = nearest(where, tuple(self.gateways), 1)
            remedy = f"Write {near[0].partition('/')[2]}" if near else "Declare the Gateway, or correct the name"
            return f"there is no Gateway {where} to attach to", remedy
        service = self.services.get(ServiceKey(ref.namespace, target.name))
        if service is None:
            return f"there is no Service {where} to attach to", "Declare the Service, or correct the name"
        if service.external or not service.selector:
            message = f"Service {where} selects no workloads, so there is nothing to guard"
            return message, "Target a Service with a selector, or select workloads by their labels"
        ports = tuple(sorted((port.target for port in service.ports), key=str))
        return Scope(namespace=ref.namespace, labels=service.selector, ports=ports)


def _accepted(found: list[Finding]) -> Condition:
    if not found:
        return Condition("Accepted", TRUE, "Accepted")
    reason = "TargetNotFound" if found[0].code == "WFT-1227" else "Invalid"
    return Condition("Accepted", FALSE, reason, found[0].message)


def _no_provider(ref: Ref, name: str, known: tuple[str, ...]) -> Finding:
    near = nearest(name, known, 1)
    listed = f"; there is {', '.join(sorted(known))}" if known else ", and none is declared"
    return Finding(
        code="WFT-1226",
        ref=ref,
        field="spec.provider.name",
        message=f"there is no provider {name}{listed}: what it would be asked about is refused",
        remedy=f"Write {near[0]}" if near else "Declare it in spec.security.providers of a Mesh",
    )
