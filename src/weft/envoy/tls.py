"""TLS between proxies: who shows which certificate, who is believed, and how the shapes are told apart.

No context can be made here without the name of a secret that holds the bundles: an empty validation context would take every
client (measured), so there is no way to say one. Source: SPIFFE X.509-SVID; docs/concepts/shapes.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import re2

from weft.envoy import api
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.rbac import v3 as rbac_
from weft.envoy.protos.envoy.extensions.filters.common.set_filter_state import v3 as filter_state
from weft.envoy.protos.envoy.extensions.filters.listener.tls_inspector import v3 as tls_inspector
from weft.envoy.protos.envoy.extensions.filters.network.rbac import v3 as network_rbac
from weft.envoy.protos.envoy.extensions.filters.network.set_filter_state import v3 as set_filter_state
from weft.envoy.protos.envoy.extensions.transport_sockets.tls import v3 as tls
from weft.envoy.protos.envoy.type.matcher import v3 as matcher
from weft.names import AGENT_CLUSTER, BUNDLES, SVID

if TYPE_CHECKING:
    from weft.model.trust import Trust

TLS: Final = "envoy.transport_sockets.tls"
CURVES: Final = ("X25519MLKEM768", "X25519")
"""Post-quantum where both ends can, which two of our proxies always do; X25519 for SPIFFE clients that cannot."""
NOBODY: Final = "weft:nobody"
"""No SVID has this URI, since none is a SPIFFE ID without its scheme: an empty list of identities matches nobody."""
PEER: Final = "weft.peer"
"""The key in a connection's filter state of the one URI in the peer's certificate; of two it is ``a,b``, which never matches."""
DRAINED_AFTER: Final = 3_600_000
"""Milliseconds in which a connection between proxies is replaced. An identity that was taken back has no longer than this,
where nothing else (a ban, a changed policy) cut its connections before. Callers replace theirs earlier, at
``REPLACED_AFTER``, so that no request is in flight when the callee's end closes.
"""
REPLACED_AFTER: Final = 2_700_000
RAW_AFTER: Final = DRAINED_AFTER + 900_000
"""Where the callee's end does not understand requests it cannot drain: it closes later still."""
OPAQUE_AFTER: Final = 86_400_000
"""The same for a connection whose bytes nobody here understands, and which cannot be replaced without cutting it, and for a
request that goes on (a WebSocket): the life of an SVID.
"""


def upstream(identities: tuple[str, ...], alpn: str) -> core.TransportSocket:
    """A caller's end. The server must be one of ``identities``; its SNI is the endpoint's name."""
    context = tls.UpstreamTlsContext(common_tls_context=_common(identities or (NOBODY,), (alpn,)), auto_host_sni=True)
    # A resumed session would skip the look at the certificate.
    context.max_session_keys.CopyFrom(api.uint32(0))
    return _socket(context)


@lru_cache
def downstream(alpn: str = "") -> core.TransportSocket:
    """A callee's end: only clients with an SVID of a trust domain that we hold a bundle of.

    ``alpn`` is what is agreed to; without one nothing is, so that what is inside may be looked at (Envoy takes a
    protocol that was agreed to for HTTP/1.1 unless it is ``h2``).
    """
    context = tls.DownstreamTlsContext(
        common_tls_context=_common((), (alpn,) if alpn else ()),
        require_client_certificate=api.boolean(True),
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    return _socket(context)


def inspector() -> listener.ListenerFilter:
    """Reads the first bytes of a connection: whether it is TLS, and the ALPN that says its shape."""
    return listener.ListenerFilter(
        name="envoy.filters.listener.tls_inspector", typed_config=api.pack(tls_inspector.TlsInspector())
    )


@lru_cache
def second_lock(trust: Trust) -> tuple[listener.Filter, ...]:
    """In front of everything behind mutual TLS: one SPIFFE ID, of a trust domain that we know, and not banned.

    The validator has said all of this but the ban before. Were it ever to be given too little, this still closes.
    """
    seen = filter_state.FilterStateValue(
        object_key=PEER,
        factory_key="envoy.string",
        format_string=core.SubstitutionFormatString(
            text_format_source=core.DataSource(inline_string="%DOWNSTREAM_PEER_URI_SAN%")
        ),
    )
    domains = "|".join(re2.escape(domain) for domain in (trust.domain, *trust.federated))
    # The letters of a SPIFFE ID and no others: two URIs come as "a,b", and a NUL would end a name for some and not for others.
    known = _peer(
        matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=rf"spiffe://(?:{domains})/[A-Za-z0-9._/-]+"))
    )
    locks = [_rbac("weft_trust", rbac_.RBAC.Action.ALLOW, [known])]
    if trust.banned:
        banned = [_peer(matcher.StringMatcher(exact=each)) for each in trust.banned]
        locks.append(_rbac("weft_ban", rbac_.RBAC.Action.DENY, banned))
    state = listener.Filter(
        name="envoy.filters.network.set_filter_state",
        typed_config=api.pack(set_filter_state.Config(on_downstream_tls_handshake=[seen])),
    )
    return (state, *locks)


def _rbac(name: str, action: rbac_.RBAC.Action, principals: list[rbac_.Principal]) -> listener.Filter:
    everything = rbac_.Permission(any=True)
    policy = rbac_.Policy(permissions=[everything], principals=principals)
    made = network_rbac.RBAC(stat_prefix=f"{name}.", rules=rbac_.RBAC(action=action, policies={name: policy}))
    return listener.Filter(name="envoy.filters.network.rbac", typed_config=api.pack(made))


def _peer(value: matcher.StringMatcher) -> rbac_.Principal:
    return rbac_.Principal(filter_state=matcher.FilterStateMatcher(key=PEER, string_match=value))


def _common(identities: tuple[str, ...], alpn: tuple[str, ...]) -> tls.CommonTlsContext:
    """``identities`` empty: anybody whom the bundles vouch for."""
    names = [
        tls.SubjectAltNameMatcher(
            san_type=tls.SubjectAltNameMatcher.SanType.URI, matcher=matcher.StringMatcher(exact=identity)
        )
        for identity in identities
    ]
    return tls.CommonTlsContext(
        tls_params=tls.TlsParameters(
            tls_minimum_protocol_version=tls.TlsParameters.TLSv1_3,
            tls_maximum_protocol_version=tls.TlsParameters.TLSv1_3,
            ecdh_curves=CURVES,
        ),
        tls_certificate_sds_secret_configs=[secret(SVID)],
        combined_validation_context=tls.CommonTlsContext.CombinedCertificateValidationContext(
            default_validation_context=tls.CertificateValidationContext(match_typed_subject_alt_names=names),
            validation_context_sds_secret_config=secret(BUNDLES),
        ),
        alpn_protocols=alpn,
    )


def secret(name: str) -> tls.SdsSecretConfig:
    """A secret that the agent of this host brings, over its own socket: never through the control plane."""
    stream = core.GrpcService(envoy_grpc=core.GrpcService.EnvoyGrpc(cluster_name=AGENT_CLUSTER))
    source = core.ApiConfigSource(
        api_type=core.ApiConfigSource.DELTA_GRPC,
        transport_api_version=core.ApiVersion.V3,
        set_node_on_first_message_only=True,
        grpc_services=[stream],
    )
    config = core.ConfigSource(api_config_source=source, resource_api_version=core.ApiVersion.V3)
    return tls.SdsSecretConfig(name=name, sds_config=config)


def _socket(context: tls.UpstreamTlsContext | tls.DownstreamTlsContext) -> core.TransportSocket:
    return core.TransportSocket(name=TLS, typed_config=api.pack(context))
