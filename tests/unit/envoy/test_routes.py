"""Routes of rules. What they do is shown with the real Envoy in tests/envoy/test_routes.py."""

from __future__ import annotations

import pytest

from weft.envoy import routes
from weft.model.policy import Retry
from weft.model.route import (
    Backend,
    Cors,
    HeaderEdit,
    Match,
    MatchKind,
    Redirect,
    Rule,
    StringMatch,
    VirtualHost,
)
from weft.names import OutboundCluster
from weft.values import Milliseconds

A, B = OutboundCluster(80, "a"), OutboundCluster(80, "b")


def test_every_route_is_named_after_its_rule() -> None:
    rule = Rule(source="HTTPRoute/s/r/rules/0", matches=(Match(), Match(method="GET")), backends=(Backend(A),))
    assert [item.name for item in routes.rule_routes(rule)] == ["HTTPRoute/s/r/rules/0"] * 2


def test_one_plain_backend_is_named_and_several_are_weighted() -> None:
    [one] = routes.rule_routes(Rule(source="s", backends=(Backend(A, 5), Backend(B, 0))))
    assert one.route.cluster == "outbound|80||a"
    [two] = routes.rule_routes(Rule(source="s", backends=(Backend(A, 5), Backend(B, 3))))
    assert [(item.name, item.weight.value) for item in two.route.weighted_clusters.clusters] == [
        ("outbound|80||a", 5),
        ("outbound|80||b", 3),
    ]
    edit = HeaderEdit(remove=("x",))
    [edited] = routes.rule_routes(Rule(source="s", backends=(Backend(A, request_headers=edit),)))
    assert len(edited.route.weighted_clusters.clusters) == 1


def test_the_share_of_invalid_backends_stands_in_front() -> None:
    rule = Rule(source="s", backends=(Backend(A, 3), Backend(None, 1)))
    first, second = routes.rule_routes(rule)
    assert first.direct_response.status == 500
    assert first.match.runtime_fraction.default_value.numerator == 250_000
    assert second.route.cluster == "outbound|80||a"


@pytest.mark.parametrize("backends", [(), (Backend(None),), (Backend(A, 0),)])
def test_a_rule_that_leads_nowhere_answers_500(backends: tuple[Backend, ...]) -> None:
    [only] = routes.rule_routes(Rule(source="s", backends=backends))
    assert only.direct_response.status == 500


def test_a_redirect_needs_no_backend() -> None:
    [only] = routes.rule_routes(Rule(source="s", redirect=Redirect(status=308, host="h"), backends=(Backend(None),)))
    assert (only.redirect.host_redirect, only.redirect.response_code) == ("h", routes.REDIRECTS[308])


def test_without_a_time_out_there_is_none_and_a_grpc_callers_deadline_is_left_to_the_caller() -> None:
    [none] = routes.rule_routes(Rule(source="s", backends=(Backend(A),)))
    assert none.route.HasField("timeout")
    assert none.route.timeout.seconds == 0
    assert not none.route.HasField("max_stream_duration")
    [some] = routes.rule_routes(Rule(source="s", backends=(Backend(A),), request_timeout=Milliseconds(2_000)))
    assert some.route.timeout.seconds == 2


def test_retries_go_elsewhere_and_no_attempts_means_none() -> None:
    retry = Retry(attempts=4, codes=(503,))
    [made] = routes.rule_routes(Rule(source="s", backends=(Backend(A),), retry=retry))
    policy = made.route.retry_policy
    assert policy.num_retries.value == 4
    assert policy.retry_on.endswith("retriable-status-codes")
    assert list(policy.retriable_status_codes) == [503]
    assert len(policy.retry_host_predicate) == 1
    [never] = routes.rule_routes(Rule(source="s", backends=(Backend(A),), retry=Retry(attempts=0)))
    assert not never.route.HasField("retry_policy")
    limited = Rule(source="s", backends=(Backend(A),), retry=Retry(attempts=0), backend_timeout=Milliseconds(100))
    [once] = routes.rule_routes(limited)
    assert (once.route.retry_policy.num_retries.value, once.route.retry_policy.retry_on) == (0, "")


def test_a_preflight_has_a_route_of_its_own() -> None:
    rule = Rule(source="s", matches=(Match(method="PUT"),), backends=(Backend(A),), cors=Cors(allow_origins=("*",)))
    preflight, real = routes.rule_routes(rule)
    assert preflight.match.headers[0].string_match.exact == "OPTIONS"
    assert list(real.typed_per_filter_config) == ["envoy.filters.http.cors"]


def test_a_text_is_cut_to_what_envoy_takes() -> None:
    assert len(routes.text(502, "é" * 9_999).body.inline_string.encode()) <= routes.BODY_LIMIT


def test_what_envoy_would_refuse_becomes_harmless() -> None:
    good = Rule(source="good", backends=(Backend(A),))
    bad_header = Rule(source="bad", backends=(Backend(A),), request_headers=HeaderEdit(set=(("x\n", "v"),)))
    wrong = Match(path=StringMatch(MatchKind.REGEX, "("))
    bad_match = Rule(source="gone", matches=(wrong,), backends=(Backend(A),))
    kept = routes.harmless(VirtualHost(domain="d", rules=(bad_header, bad_match, good))).rules
    assert [rule.source for rule in kept] == ["bad", "good"]
    assert kept[0].backends == ()
    assert kept[1] is good
