from __future__ import annotations

import pytest

from weft.envoy import api, closed
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.rbac import v3 as rbac
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.extensions.filters.network.rbac import v3 as network_rbac
from weft.envoy.protos.envoy.extensions.transport_sockets.tls import v3 as tls
from weft.envoy.tls import NOBODY, downstream, second_lock, secret, upstream
from weft.model.trust import Trust
from weft.names import BUNDLES, SVID

Context = tls.CommonTlsContext
Combined = Context.CombinedCertificateValidationContext
NAMED = tls.CertificateValidationContext(
    match_typed_subject_alt_names=[tls.SubjectAltNameMatcher(san_type=tls.SubjectAltNameMatcher.SanType.URI)]
)
ROOT = tls.CertificateValidationContext(trusted_ca=core.DataSource(inline_string="pem"))


def listening(socket: core.TransportSocket, *filters: listener.Filter) -> listener.Listener:
    return listener.Listener(name="in", filter_chains=[listener.FilterChain(transport_socket=socket, filters=filters)])


def socket(context: tls.DownstreamTlsContext | tls.UpstreamTlsContext) -> core.TransportSocket:
    return core.TransportSocket(name="envoy.transport_sockets.tls", typed_config=api.pack(context))


def messages(made: cluster.Cluster | listener.Listener | core.TypedExtensionConfig) -> list[str]:
    return [each.message for each in closed.violations(made)]


def test_what_our_builders_make_is_closed() -> None:
    assert messages(listening(downstream("weft-http"), *second_lock(Trust(banned=("spiffe://local/x",))))) == []
    assert messages(cluster.Cluster(transport_socket=upstream((), "weft-raw"))) == []
    assert NOBODY in str(api.unpack(upstream((), "weft-raw").typed_config))


@pytest.mark.parametrize(
    "common",
    [
        Context(),
        Context(validation_context=tls.CertificateValidationContext()),
        Context(validation_context=NAMED),
        Context(combined_validation_context=Combined(default_validation_context=NAMED)),
        Context(validation_context_sds_secret_config=tls.SdsSecretConfig()),
    ],
)
def test_a_listener_that_checks_certificates_by_nothing_is_found(common: tls.CommonTlsContext) -> None:
    context = tls.DownstreamTlsContext(common_tls_context=common, require_client_certificate=api.boolean(True))
    [found] = closed.violations(listening(socket(context)))
    assert found.message == "asks for certificates and checks them by nothing"
    assert found.field == "filter_chains[0].transport_socket.typed_config.value.common_tls_context"


@pytest.mark.parametrize(
    "common",
    [
        Context(validation_context=ROOT),
        Context(validation_context_sds_secret_config=secret(BUNDLES)),
        Context(combined_validation_context=Combined(validation_context_sds_secret_config=secret(BUNDLES))),
        Context(combined_validation_context=Combined(default_validation_context=ROOT)),
    ],
)
def test_a_listener_with_an_authority_is_closed(common: tls.CommonTlsContext) -> None:
    context = tls.DownstreamTlsContext(common_tls_context=common, require_client_certificate=api.boolean(True))
    assert messages(listening(socket(context))) == []


def test_a_workload_s_listener_that_asks_nobody_for_a_certificate_is_found() -> None:
    common = Context(tls_certificate_sds_secret_configs=[secret(SVID)])
    assert messages(listening(socket(tls.DownstreamTlsContext(common_tls_context=common)))) == [
        "shows an SVID and asks nobody for theirs"
    ]


def test_a_caller_that_believes_anybody_is_found_in_a_match_too() -> None:
    inner = cluster.Cluster.TransportSocketMatch(name="one", transport_socket=socket(tls.UpstreamTlsContext()))
    assert messages(cluster.Cluster(transport_socket_matches=[inner])) == [
        "believes a server whoever vouches for it",
        "believes a server whatever its name is",
    ]


def test_rbac_that_matches_everybody_is_found_wherever_it_stands() -> None:
    anybody = rbac.Principal(authenticated=rbac.Principal.Authenticated())
    either = rbac.Principal(not_id=rbac.Principal(or_ids=rbac.Principal.Set(ids=[anybody])))
    rules = rbac.RBAC(policies={"all": rbac.Policy(principals=[either])})
    packed = api.pack(network_rbac.RBAC(rules=rules))
    found = ["matches everybody, with a certificate or without"]
    assert messages(core.TypedExtensionConfig(name="rbac", typed_config=packed)) == found
    chained = listener.Filter(name="rbac", typed_config=packed)
    assert messages(listener.Listener(filter_chains=[listener.FilterChain(filters=[chained])])) == found


def test_what_this_envoy_does_not_know_and_what_cannot_hold_tls_is_passed_over() -> None:
    unknown = core.TransportSocket(name="x")
    unknown.typed_config.type_url = "type.googleapis.com/example.Unknown"
    assert messages(cluster.Cluster(transport_socket=unknown)) == []
    assert closed.violations(route.RouteConfiguration(name="r")) == ()
