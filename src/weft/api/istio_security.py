"""Istio's kinds about identities: what workloads take from callers, and which tokens count.

Source: Istio 1.30, the references of PeerAuthentication and RequestAuthentication, and the validation of their CRDs; ``v1``
and ``v1beta1`` have the same fields. ``weft.api.istio_authorization`` has the third kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field

from weft.api.base import (
    Duration,
    Finding,
    Group,
    HeaderName,
    KindName,
    Label,
    Many,
    Model,
    Named,
    Object,
    ObjectName,
    Strings,
    shown,
    unique,
    wrong,
)
from weft.api.jwks import Jwks
from weft.api.labels import DRY_RUN
from weft.errors import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.api.path import Path


def is_port(value: str) -> str:
    if not (value.isascii() and value.isdigit()) or len(value) > 5 or not 1 <= int(value) <= 65535:
        wrong("WFT-1105", f"{shown(value)} is not a port number", "Write a number from 1 to 65535, in quotes")
    return value


Value: TypeAlias = Annotated[str, Field(min_length=1, max_length=1024)]
Values: TypeAlias = Annotated[Many[Value], Field(max_length=512)]
PortKey: TypeAlias = Annotated[str, AfterValidator(is_port)]
Mode: TypeAlias = Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]


class WorkloadSelector(Model):
    """Workloads that have all of these labels."""

    match_labels: Strings = ()

    def findings(self) -> Iterator[Finding]:
        for name, value in self.match_labels:
            if not name or "*" in name or "*" in value:
                message = f"{shown(name)}: {shown(value)} is no label: a label is compared as a whole"
                remedy = "Write the label as the workload has it"
                yield Finding(code="WFT-1105", message=message, remedy=remedy, path=("matchLabels", name))


class MutualTls(Model):
    mode: Mode = "UNSET"


class PeerAuthenticationSpec(Model):
    selector: WorkloadSelector | None = None
    mtls: MutualTls | None = None
    port_level_mtls: Named[PortKey, MutualTls] = ()
    """By the port of the workload, not of a service."""

    @property
    def labels(self) -> Strings:
        return self.selector.match_labels if self.selector else ()

    def findings(self) -> Iterator[Finding]:
        if self.port_level_mtls and not self.labels:
            message = "portLevelMtls holds for the ports of selected workloads, and there is no selector"
            remedy = "Add a selector with matchLabels"
            yield Finding(code="WFT-1104", message=message, remedy=remedy, path=("portLevelMtls",), is_key=True)


class PeerAuthentication(Object):
    """What workloads take from callers: mutual TLS only, plain text too, or plain text alone."""

    spec: PeerAuthenticationSpec = PeerAuthenticationSpec()

    def warnings(self) -> Iterator[Finding]:
        yield from _without_effect(self, DRY_RUN)


class TargetRef(Model):
    """What a policy is attached to, in its own namespace."""

    group: Group = ""
    kind: KindName
    name: ObjectName
    namespace: Label | None = None

    def findings(self) -> Iterator[Finding]:
        kind = ("" if self.group == CORE else self.group, self.kind)
        if kind == ("networking.istio.io", "ServiceEntry"):
            message = "weft cannot give this effect: nothing of ours stands before a service outside the mesh"
            remedy = "Target the workloads that call it, or route the calls through a Gateway"
            yield Finding(code="WFT-1108", message=message, remedy=remedy, path=("kind",))
        elif kind not in TARGETS:
            known = " and ".join(sorted(f"{each}{f' of {group}' if group else ''}" for group, each in TARGETS))
            message = f"a policy cannot be attached to {self.kind}{f' of {self.group}' if self.group else ''}"
            yield Finding(code="WFT-1105", message=message, remedy=f"Use one of {known}", path=("kind",))


GATEWAY: Final = ("gateway.networking.k8s.io", "Gateway")
GATEWAY_CLASS: Final = ("gateway.networking.k8s.io", "GatewayClass")
SERVICE: Final = ("", "Service")
CORE: Final = "core"
"""Istio's other name of the group that has no name."""
TARGETS: Final = frozenset({GATEWAY, GATEWAY_CLASS, SERVICE})


class Targeted(Model):
    """Where a policy holds: everything in its namespace, what a selector says, or what is targeted."""

    selector: WorkloadSelector | None = None
    target_ref: TargetRef | None = None
    target_refs: Annotated[Many[TargetRef], Field(max_length=16)] = ()

    @property
    def labels(self) -> Strings:
        return self.selector.match_labels if self.selector else ()

    @property
    def targets(self) -> tuple[tuple[str, TargetRef], ...]:
        """Each target with its field."""
        listed = tuple((f"targetRefs[{index}]", each) for index, each in enumerate(self.target_refs))
        return (("targetRef", self.target_ref), *listed) if self.target_ref else listed

    def findings(self) -> Iterator[Finding]:
        given = [
            name
            for name, value in (
                ("selector", self.selector),
                ("targetRef", self.target_ref),
                ("targetRefs", self.target_refs or None),
            )
            if value is not None
        ]
        for name in given[1:]:
            message = f"{given[0]} and {name} both say where the policy holds"
            yield Finding(code="WFT-1105", message=message, remedy="Keep one of them", path=(name,), is_key=True)
        refs = [(("targetRefs", index), (each.kind, each.name)) for index, each in enumerate(self.target_refs)]
        yield from unique(list(refs), "target")


def warning(code: str, message: str, remedy: str, path: Path) -> Finding:
    return Finding(code=code, message=message, remedy=remedy, path=path, severity=Severity.WARNING)


def _without_effect(each: Object, name: str) -> Iterator[Finding]:
    if name in dict(each.metadata.annotations):
        message = f"{name} has no effect on a {each.kind}"
        yield warning("WFT-1111", message, f"Remove {name}", ("metadata", "annotations", name))


class JwtHeader(Model):
    name: HeaderName
    prefix: str = ""


class ClaimToHeader(Model):
    header: HeaderName
    claim: Value
    """Parts of a nested claim are separated by dots."""


class JwtRule(Model):
    """Tokens of one issuer: where they are, whose keys they must be signed with, and what the application is given."""

    issuer: Value
    audiences: Values = ()
    jwks: Jwks | None = None
    jwks_uri: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+", max_length=2048)] | None = None
    from_headers: Annotated[Many[JwtHeader], Field(max_length=32)] = ()
    from_params: Values = ()
    from_cookies: Values = ()
    output_payload_to_header: HeaderName | None = None
    forward_original_token: bool = False
    output_claim_to_headers: Annotated[Many[ClaimToHeader], Field(max_length=64)] = ()
    space_delimited_claims: Annotated[Many[Value], Field(max_length=64)] = ()
    """Beside ``scope`` and ``permission``: claims whose text is a list of words."""
    timeout: Duration | None = None

    def findings(self) -> Iterator[Finding]:
        if self.jwks is not None and self.jwks_uri is not None:
            message = "jwks and jwksUri both say where the keys are"
            yield Finding(code="WFT-1105", message=message, remedy="Keep one of them", path=("jwksUri",), is_key=True)
        if self.jwks is None and self.jwks_uri is None and not self.issuer.startswith(("https://", "http://")):
            message = f"the keys of {shown(self.issuer)} cannot be discovered: the issuer is no URL"
            yield Finding(code="WFT-1104", message=message, remedy="Add jwks or jwksUri", path=("jwksUri",))
        headers = [
            (("outputClaimToHeaders", index, "header"), each.header.lower())
            for index, each in enumerate(self.output_claim_to_headers)
        ]
        yield from unique(list(headers), "header")


class RequestAuthenticationSpec(Targeted):
    jwt_rules: Annotated[Many[JwtRule], Field(max_length=128)] = ()


class RequestAuthentication(Object):
    """Which tokens count. A request with a token that is not valid is refused; one without any is let through, unknown."""

    spec: RequestAuthenticationSpec = RequestAuthenticationSpec()

    def warnings(self) -> Iterator[Finding]:
        yield from _without_effect(self, DRY_RUN)
        for index, rule in enumerate(self.spec.jwt_rules):
            if rule.timeout is not None:
                message = (
                    "timeout has no effect in weft: keys are fetched apart from requests, so nothing waits for them"
                )
                yield warning("WFT-1111", message, "Remove timeout", ("spec", "jwtRules", index, "timeout"))
