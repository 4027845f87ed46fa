"""TLS between proxies."""

from __future__ import annotations

import pytest

from weft.envoy import api, tls
from weft.envoy.protos.envoy.extensions.filters.network.rbac import v3 as network_rbac
from weft.envoy.protos.envoy.extensions.filters.network.set_filter_state import v3 as set_filter_state
from weft.envoy.protos.envoy.extensions.transport_sockets.tls import v3 as messages
from weft.model.trust import Trust

ID = "spiffe://local/ns/default/sa/web"


def client(*identities: str, alpn: str = "weft-raw") -> messages.UpstreamTlsContext:
    return api.unpack_as(messages.UpstreamTlsContext, tls.upstream(identities, alpn).typed_config)


def server(alpn: str = "") -> messages.DownstreamTlsContext:
    return api.unpack_as(messages.DownstreamTlsContext, tls.downstream(alpn).typed_config)


def expected(context: messages.UpstreamTlsContext) -> list[str]:
    names = (
        context.common_tls_context.combined_validation_context.default_validation_context.match_typed_subject_alt_names
    )
    assert {each.san_type for each in names} == {messages.SubjectAltNameMatcher.SanType.URI}
    return [each.matcher.exact for each in names]


@pytest.mark.parametrize("common", [client(ID).common_tls_context, server().common_tls_context])
def test_both_ends_show_an_svid_and_believe_the_bundles_and_nothing_else(common: messages.CommonTlsContext) -> None:
    assert [each.name for each in common.tls_certificate_sds_secret_configs] == ["default"]
    assert common.combined_validation_context.validation_context_sds_secret_config.name == "ALL"
    assert not common.combined_validation_context.default_validation_context.HasField("trusted_ca")
    params = common.tls_params
    assert params.tls_minimum_protocol_version == params.tls_maximum_protocol_version == messages.TlsParameters.TLSv1_3
    assert list(params.ecdh_curves) == ["X25519MLKEM768", "X25519"]


def test_a_client_expects_these_identities_and_no_list_means_nobody() -> None:
    assert expected(client(ID, f"{ID}2")) == [ID, f"{ID}2"]
    assert expected(client()) == ["weft:nobody"]


def test_a_client_says_its_shape_and_its_endpoints_name_and_resumes_nothing() -> None:
    made = client(ID)
    assert (list(made.common_tls_context.alpn_protocols), made.auto_host_sni) == (["weft-raw"], True)
    assert (made.HasField("max_session_keys"), made.max_session_keys.value) == (True, 0)


def test_a_server_wants_a_certificate_and_resumes_nothing() -> None:
    made = server("weft-http")
    assert made.require_client_certificate.value
    assert made.disable_stateless_session_resumption
    assert made.disable_stateful_session_resumption
    assert list(made.common_tls_context.alpn_protocols) == ["weft-http"]
    assert not server().common_tls_context.alpn_protocols


def test_the_second_lock_knows_the_trust_domains_and_who_is_banned() -> None:
    state, known = tls.second_lock(Trust("local", ("other.example",)))
    (seen,) = api.unpack_as(set_filter_state.Config, state.typed_config).on_downstream_tls_handshake
    assert seen.object_key == tls.PEER
    rules = api.unpack_as(network_rbac.RBAC, known.typed_config).rules
    (principal,) = rules.policies["weft_trust"].principals
    regex = principal.filter_state.string_match.safe_regex.regex
    assert regex.startswith(r"spiffe://(?:local|other\.example)/")
    *_, banned = tls.second_lock(Trust(banned=(ID,)))
    rules = api.unpack_as(network_rbac.RBAC, banned.typed_config).rules
    assert [each.filter_state.string_match.exact for each in rules.policies["weft_ban"].principals] == [ID]
