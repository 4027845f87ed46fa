"""External authorizers: somebody else is asked about the calls that a CUSTOM policy's rules match, and about no others.

Source: Istio, "External Authorization"; MeshConfig.ExtensionProvider. Whoever does not answer has refused, unless the provider
says ``failOpen``; then the counter ``failure_mode_allowed`` says how often. RBAC notes in a request's metadata whether a rule
matched (``filters.rbac``), and this filter reads it there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weft.envoy import api
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.extensions.filters.http.ext_authz import v3 as http_authz
from weft.envoy.protos.envoy.extensions.filters.network.ext_authz import v3 as network_authz
from weft.envoy.protos.envoy.type import v3 as envoy_type
from weft.envoy.protos.envoy.type.matcher import v3 as matcher

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weft.model.trust import Provider

HTTP: Final = "envoy.filters.http.ext_authz"
NETWORK: Final = "envoy.filters.network.ext_authz"
MATCHED: Final = "denied"
"""What RBAC notes when a rule of its shadow rules, whose action is DENY, matched."""


def http(provider: Provider, noted: matcher.MetadataMatcher) -> core.TypedExtensionConfig:
    """Asks ``provider`` about requests in whose metadata ``noted`` stands."""
    made = http_authz.ExtAuthz(
        transport_api_version=core.ApiVersion.V3,
        stat_prefix=provider.name,
        failure_mode_allow=provider.fail_open,
        status_on_error=_status(provider.status_on_error),
        filter_enabled_metadata=noted,
        validate_mutations=True,
        allowed_headers=_names(provider.include_headers),
    )
    if provider.grpc:
        made.grpc_service.CopyFrom(_grpc(provider))
    else:
        made.http_service.CopyFrom(_http_service(provider))
    if provider.body_limit_bytes:
        made.with_request_body.CopyFrom(
            http_authz.BufferSettings(
                max_request_bytes=provider.body_limit_bytes,
                allow_partial_message=provider.body_partial,
                pack_as_bytes=provider.grpc,
            )
        )
    return core.TypedExtensionConfig(name=f"{HTTP}.{provider.name}", typed_config=api.pack(made))


def network(provider: Provider, noted: matcher.MetadataMatcher) -> listener.Filter:
    """Asks ``provider``, which speaks gRPC, about connections: it hears the caller's SPIFFE ID (``source.principal``), its whole
    certificate, and the name by which it asked for the callee.
    """
    made = network_authz.ExtAuthz(
        stat_prefix=provider.name,
        transport_api_version=core.ApiVersion.V3,
        grpc_service=_grpc(provider),
        failure_mode_allow=provider.fail_open,
        filter_enabled_metadata=noted,
        include_peer_certificate=True,
        include_tls_session=True,
    )
    return listener.Filter(name=NETWORK, typed_config=api.pack(made))


def _grpc(provider: Provider) -> core.GrpcService:
    return core.GrpcService(
        envoy_grpc=core.GrpcService.EnvoyGrpc(cluster_name=provider.cluster, authority=provider.service),
        timeout=api.duration(provider.timeout),
    )


def _http_service(provider: Provider) -> http_authz.HttpService:
    added = [core.HeaderValue(key=key, value=value) for key, value in provider.add_headers]
    return http_authz.HttpService(
        server_uri=core.HttpUri(
            uri=f"http://{provider.service}", cluster=provider.cluster, timeout=api.duration(provider.timeout)
        ),
        path_prefix=provider.path_prefix,
        authorization_request=http_authz.AuthorizationRequest(headers_to_add=added),
        authorization_response=http_authz.AuthorizationResponse(
            allowed_upstream_headers=_names(provider.headers_upstream),
            allowed_client_headers=_names(provider.headers_on_deny),
            allowed_client_headers_on_success=_names(provider.headers_downstream),
        ),
    )


def _names(patterns: Iterable[str]) -> matcher.ListStringMatcher | None:
    """Names of headers, in which a star at one end stands for anything. Source: Istio, ExtensionProvider."""
    made = [_name(pattern.lower()) for pattern in patterns]
    return matcher.ListStringMatcher(patterns=made) if made else None


def _name(pattern: str) -> matcher.StringMatcher:
    if pattern == "*":
        return matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=".+"))
    if pattern.endswith("*"):
        return matcher.StringMatcher(prefix=pattern[:-1], ignore_case=True)
    if pattern.startswith("*"):
        return matcher.StringMatcher(suffix=pattern[1:], ignore_case=True)
    return matcher.StringMatcher(exact=pattern, ignore_case=True)


def _status(code: int) -> envoy_type.HttpStatus:
    """403 for a status that Envoy does not know."""
    known = envoy_type.StatusCode.values()
    return envoy_type.HttpStatus(code=next((each for each in known if each == code), envoy_type.StatusCode.Forbidden))
