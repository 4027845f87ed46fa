"""``security`` of all Mesh documents together. The strict word wins for ``default``; of two providers of one name the older."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.api.base import milliseconds
from weft.api.mesh_security import GrpcAuthorizer, HttpAuthorizer, Provider
from weft.dialects.values import Finding
from weft.errors import Severity
from weft.model import trust
from weft.names import OutboundCluster, ServiceKey
from weft.values import Milliseconds, Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.api.mesh import MeshSpec
    from weft.model.service import Service


class ProviderSpec(msgspec.Struct, frozen=True, cache_hash=True):
    """A provider as one document has it; ``provider.cluster`` stands whether its service exists or not."""

    ref: Ref
    provider: trust.Provider
    service: ServiceKey
    port: int


class MergedSecurity(msgspec.Struct, frozen=True, cache_hash=True):
    default_deny: bool = False
    providers: tuple[ProviderSpec, ...] = ()
    aliases: tuple[str, ...] = ()
    jwks_allow: tuple[str, ...] = ()
    identity_headers: tuple[ServiceKey, ...] = ()
    """Services whose applications want to know who calls."""


class SecurityMerger:
    """Takes documents in, the oldest first."""

    def __init__(self) -> None:
        self._deny = False
        self._providers: dict[str, ProviderSpec] = {}
        self._aliases: set[str] = set()
        self._jwks_allow: set[str] = set()
        self._headers: set[ServiceKey] = set()

    def add(self, ref: Ref, spec: MeshSpec) -> list[Finding]:
        written = spec.security
        findings = []
        self._deny = self._deny or written.default == "deny"
        self._aliases.update(written.trust_domain_aliases)
        self._jwks_allow.update(written.jwks.allow)
        self._headers.update(ServiceKey(ref.namespace, name) for name, each in spec.services if each.identity_header)
        for name, provider in written.providers:
            made = _provider(ref, name, provider)
            first = self._providers.setdefault(name, made)
            if first != made:
                findings.append(_conflict(ref, name, first))
        return findings

    def merged(self) -> MergedSecurity:
        return MergedSecurity(
            self._deny,
            tuple(spec for _, spec in sorted(self._providers.items())),
            tuple(sorted(self._aliases)),
            tuple(sorted(self._jwks_allow)),
            tuple(sorted(self._headers)),
        )


def usable(spec: ProviderSpec, services: Mapping[ServiceKey, Service]) -> Finding | None:
    """Why a provider cannot be asked; None when it can."""
    service = services.get(spec.service)
    port = service.port(spec.port) if service else None
    if port is not None and port.protocol.is_http:
        return None
    what = f"Service {spec.service} has no HTTP port {spec.port}" if service else f"there is no Service {spec.service}"
    field = f"spec.security.providers.{spec.provider.name}"
    return Finding(
        code="WFT-1237",
        ref=spec.ref,
        field=field,
        message=f"provider {spec.provider.name} cannot be asked, and what it decides about is refused: {what}",
        remedy="Declare the service with that port, or correct the provider",
    )


def _provider(ref: Ref, name: str, provider: Provider) -> ProviderSpec:
    written = provider.grpc or provider.http
    if written is None:
        raise ValueError(name)  # a Provider without either was refused when it was read
    service, _, namespace = written.service.partition(".")
    key = ServiceKey(namespace or ref.namespace, service)
    body = written.include_request_body_in_check
    made = trust.Provider(
        name=name,
        cluster=str(OutboundCluster(port=written.port, host=key.host)),
        grpc=isinstance(written, GrpcAuthorizer),
        timeout=Milliseconds(milliseconds(written.timeout)),
        fail_open=written.fail_open,
        status_on_error=written.status_on_error,
        body_limit_bytes=body.max_request_bytes if body else 0,
        body_partial=bool(body and body.allow_partial_message),
        service=str(key),
    )
    if isinstance(written, HttpAuthorizer):
        made = msgspec.structs.replace(
            made,
            path_prefix=written.path_prefix,
            include_headers=_names(written.include_request_headers_in_check),
            add_headers=written.include_additional_headers_in_check,
            headers_upstream=_names(written.headers_to_upstream_on_allow),
            headers_downstream=_names(written.headers_to_downstream_on_allow),
            headers_on_deny=_names(written.headers_to_downstream_on_deny),
        )
    return ProviderSpec(ref, made, key, written.port)


def _names(headers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({name.lower() for name in headers}))


def _conflict(ref: Ref, name: str, first: ProviderSpec) -> Finding:
    return Finding(
        code="WFT-1215",
        ref=ref,
        field=f"spec.security.providers.{name}",
        message=f"provider {name} is another in the older {first.ref} already",
        remedy="Remove it from one of the two documents",
        severity=Severity.WARNING,
    )
