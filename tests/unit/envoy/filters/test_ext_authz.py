"""Somebody else is asked."""

from __future__ import annotations

import msgspec

from weft.envoy import api
from weft.envoy.filters import ext_authz, rbac
from weft.envoy.filters.rbac import Gate
from weft.envoy.protos.envoy.extensions.filters.http.ext_authz import v3 as http_authz
from weft.envoy.protos.envoy.extensions.filters.http.rbac import v3 as http_rbac
from weft.envoy.protos.envoy.extensions.filters.network.ext_authz import v3 as network_authz
from weft.envoy.protos.envoy.extensions.filters.network.rbac import v3 as network_rbac
from weft.envoy.protos.envoy.type.matcher import v3 as matcher
from weft.model.trust import Action, AuthPolicy, AuthRule, Guard, Provider, Trust
from weft.values import Milliseconds

NOTED = matcher.MetadataMatcher(filter="envoy.filters.http.rbac")
CHECK = "outbound|9000||check.default.svc.cluster.local"
GRPC = Provider(name="opa", cluster=CHECK, grpc=True, service="check.default")
HTTP = msgspec.structs.replace(
    GRPC,
    grpc=False,
    timeout=Milliseconds(250),
    path_prefix="/check",
    include_headers=("X-Ask", "x-a*", "*-b", "*"),
    add_headers=(("x-from", "weft"),),
    headers_upstream=("x-user",),
    headers_downstream=("x-ok",),
    headers_on_deny=("location",),
    body_limit_bytes=100,
    body_partial=True,
)


def asked(provider: Provider) -> http_authz.ExtAuthz:
    return api.unpack_as(http_authz.ExtAuthz, ext_authz.http(provider, NOTED).typed_config)


def test_who_does_not_answer_has_refused_unless_it_is_said_otherwise() -> None:
    made = asked(GRPC)
    assert not made.failure_mode_allow
    assert made.status_on_error.code == 403
    open_ = asked(msgspec.structs.replace(GRPC, fail_open=True, status_on_error=503))
    assert open_.failure_mode_allow
    assert open_.status_on_error.code == 503
    assert asked(msgspec.structs.replace(GRPC, status_on_error=999)).status_on_error.code == 403


def test_grpc_is_asked_at_the_cluster_of_its_service() -> None:
    made = asked(GRPC)
    assert made.grpc_service.envoy_grpc.cluster_name == CHECK
    assert made.grpc_service.envoy_grpc.authority == "check.default"
    assert made.grpc_service.timeout.nanos == 600_000_000
    assert not made.HasField("with_request_body")
    assert made.filter_enabled_metadata == NOTED


def test_http_is_asked_with_what_the_provider_wants_to_see() -> None:
    made = asked(HTTP)
    assert made.http_service.path_prefix == "/check"
    assert made.http_service.server_uri.cluster == CHECK
    assert made.http_service.server_uri.timeout.nanos == 250_000_000
    assert [item.WhichOneof("match_pattern") for item in made.allowed_headers.patterns] == [
        "exact",
        "prefix",
        "suffix",
        "safe_regex",
    ]
    assert [item.key for item in made.http_service.authorization_request.headers_to_add] == ["x-from"]
    answer = made.http_service.authorization_response
    assert answer.allowed_upstream_headers.patterns[0].exact == "x-user"
    assert answer.allowed_client_headers.patterns[0].exact == "location"
    assert answer.allowed_client_headers_on_success.patterns[0].exact == "x-ok"
    assert made.with_request_body.max_request_bytes == 100
    assert made.with_request_body.allow_partial_message
    assert not made.with_request_body.pack_as_bytes


def custom(provider: Provider | None, name: str = "p", *, dry_run: bool = False) -> AuthPolicy:
    source = f"AuthorizationPolicy/shop/{name}"
    rules = (AuthRule(source=f"{source}/rules/0"),)
    return AuthPolicy(source=source, action=Action.CUSTOM, rules=rules, dry_run=dry_run, provider=provider)


def test_each_provider_is_asked_about_what_its_own_rules_match() -> None:
    other = msgspec.structs.replace(GRPC, name="other")
    guard = Guard(policies=(custom(GRPC, "a"), custom(other, "b"), custom(GRPC, "c")))
    names = [item.name for item in rbac.http(Gate(guard))]
    assert names == [
        "envoy.filters.http.rbac.custom.opa",
        "envoy.filters.http.ext_authz.opa",
        "envoy.filters.http.rbac.custom.other",
        "envoy.filters.http.ext_authz.other",
    ]
    first, ask, *_ = rbac.http(Gate(guard))
    rules = api.unpack_as(http_rbac.RBAC, first.typed_config)
    assert sorted(rules.shadow_rules.policies) == [
        "AuthorizationPolicy/shop/a/rules/0",
        "AuthorizationPolicy/shop/c/rules/0",
    ]
    assert not rules.HasField("rules")
    noted = api.unpack_as(http_authz.ExtAuthz, ask.typed_config).filter_enabled_metadata
    assert noted.path[0].key == f"{rules.shadow_rules_stat_prefix}shadow_engine_result"
    assert noted.value.string_match.exact == "denied"


def test_a_policy_without_rules_asks_nobody() -> None:
    guard = Guard(policies=(AuthPolicy(source="s", action=Action.CUSTOM, provider=GRPC),))
    assert rbac.http(Gate(guard)) == []


def test_what_a_missing_provider_should_be_asked_about_is_refused() -> None:
    [deny] = rbac.http(Gate(Guard(policies=(custom(None),))))
    found = api.unpack_as(http_rbac.RBAC, deny.typed_config)
    assert list(found.rules.policies) == ["AuthorizationPolicy/shop/p/rules/0"]


def test_in_dry_run_nobody_is_asked_and_it_is_noted() -> None:
    for provider in (GRPC, None):
        [noted] = rbac.http(Gate(Guard(policies=(custom(provider, dry_run=True),))))
        found = api.unpack_as(http_rbac.RBAC, noted.typed_config)
        assert not found.HasField("rules")
        assert list(found.shadow_rules.policies) == ["AuthorizationPolicy/shop/p/rules/0"]


def test_connections_are_asked_about_by_grpc_and_refused_where_only_http_is_spoken() -> None:
    shadow, ask = rbac.network(Guard(policies=(custom(GRPC),)), Trust())
    assert api.unpack_as(network_rbac.RBAC, shadow.typed_config).HasField("shadow_rules")
    found = api.unpack_as(network_authz.ExtAuthz, ask.typed_config)
    assert found.grpc_service.envoy_grpc.cluster_name == CHECK
    assert found.filter_enabled_metadata.filter == "envoy.filters.network.rbac"
    assert not found.failure_mode_allow
    [refused] = rbac.network(Guard(policies=(custom(HTTP),)), Trust())
    assert api.unpack_as(network_rbac.RBAC, refused.typed_config).HasField("rules")
