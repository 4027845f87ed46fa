"""Routes: the Envoy routes of one rule, first match wins.

A rule becomes one route per match. An invalid backend ref keeps its share of the requests, and they are answered 500: a
direct response cannot be a member of a weighted cluster, so a route with that share as its runtime fraction stands in
front. Every route is named after its rule: the access log then says which object routed a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.envoy import api, check, edits, matches
from weft.envoy.filters import cors
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.extensions.retry.host.previous_hosts import v3 as previous_hosts
from weft.model.route import Rule
from weft.names import UNANSWERED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.envoy.protos.google import protobuf as wkt
    from weft.model.policy import Retry
    from weft.model.route import Backend, Match, Mirror, Redirect, VirtualHost

BODY_LIMIT: Final = 4_000
"""Bytes of text in a direct response; Envoy refuses a route configuration with more than 4,096."""

REDIRECTS: Final = {
    301: route.RedirectAction.MOVED_PERMANENTLY,
    302: route.RedirectAction.FOUND,
    303: route.RedirectAction.SEE_OTHER,
    307: route.RedirectAction.TEMPORARY_REDIRECT,
    308: route.RedirectAction.PERMANENT_REDIRECT,
}
RETRY_ATTEMPTS_PER_HOST: Final = 5


def rule_routes(rule: Rule) -> Iterator[route.Route]:
    """The routes of one rule, in order."""
    for match in rule.matches:
        if rule.cors and (asked := matches.preflight(match)):
            yield _route(rule, asked)
        valid = sum(item.weight for item in rule.backends if item.cluster)
        invalid = sum(item.weight for item in rule.backends if not item.cluster)
        if valid and invalid and not rule.redirect:
            yield failing(rule, match, invalid, valid + invalid)
        yield _route(rule, match)


def failing(rule: Rule, match: Match, numerator: int = 1, denominator: int = 1) -> route.Route:
    """The answer of a rule, or of a share of it, that leads nowhere."""
    return route.Route(
        name=rule.source,
        match=matches.route_match(match, numerator, denominator),
        direct_response=text(500, f"weft: {rule.source} has no valid backend for this request\n"),
        response_headers_to_add=[content_type()],
        typed_per_filter_config=_per_filter(rule),
    )


def text(status: int, body: str) -> route.DirectResponseAction:
    """An answer of our own. Callers of gRPC get a gRPC status from Envoy instead of the text."""
    cut = body.encode()[:BODY_LIMIT].decode(errors="ignore")
    return route.DirectResponseAction(status=status, body=core.DataSource(inline_string=cut))


def content_type() -> core.HeaderValueOption:
    return core.HeaderValueOption(
        header=core.HeaderValue(key="content-type", value="text/plain; charset=utf-8"),
        append_action=core.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def _route(rule: Rule, match: Match) -> route.Route:
    if not rule.redirect and not any(item.cluster and item.weight for item in rule.backends):
        return failing(rule, match)
    made = route.Route(
        name=rule.source,
        match=matches.route_match(match),
        typed_per_filter_config=_per_filter(rule),
        **edits.request(rule.request_headers),
        **edits.response(rule.response_headers),
    )
    if rule.redirect:
        made.redirect.CopyFrom(_redirect(rule.redirect, match))
    else:
        made.route.CopyFrom(_forward(rule, match))
    return made


def _per_filter(rule: Rule) -> dict[str, wkt.Any]:
    return {cors.NAME: api.pack(cors.policy(rule.cors))} if rule.cors else {}


def _redirect(redirect: Redirect, match: Match) -> route.RedirectAction:
    made = route.RedirectAction(
        scheme_redirect=redirect.scheme,
        host_redirect=redirect.host,
        port_redirect=redirect.port,
        response_code=REDIRECTS[redirect.status],
    )
    if redirect.path:
        if not redirect.path.replace_prefix:
            made.path_redirect = redirect.path.value
        elif regex := edits.path_regex(match.path, redirect.path):
            made.regex_rewrite.CopyFrom(regex)
        else:
            made.prefix_rewrite = edits.path_prefix(redirect.path)
    return made


def _forward(rule: Rule, match: Match) -> route.RouteAction:
    """Where a request goes and how long that may take. Without a time-out in the rule there is none: what streams for
    hours must not be cut. A gRPC caller's deadline is its own and its server's to keep: Envoy, which would keep it too, wins
    that race one time in six, and its reset then reads INTERNAL instead of DEADLINE_EXCEEDED.
    """
    made = route.RouteAction(
        timeout=api.duration(rule.request_timeout or 0),
        request_mirror_policies=[_mirror(item) for item in rule.mirrors],
    )
    if rule.retry.attempts or rule.backend_timeout:
        made.retry_policy.CopyFrom(_retry(rule.retry, rule.backend_timeout or 0))
    if host := (rule.rewrite.host if rule.rewrite else "") or edits.host(rule.request_headers):
        made.host_rewrite_literal = host
    if rule.rewrite and rule.rewrite.path:
        if regex := edits.path_regex(match.path, rule.rewrite.path):
            made.regex_rewrite.CopyFrom(regex)
        else:
            made.prefix_rewrite = edits.path_prefix(rule.rewrite.path)
    _destination(made, [item for item in rule.backends if item.cluster and item.weight])
    return made


def _destination(made: route.RouteAction, backends: list[Backend]) -> None:
    first = backends[0]
    if len(backends) == 1 and not (_edits(first)):
        made.cluster = str(first.cluster)
        return
    made.weighted_clusters.CopyFrom(
        route.WeightedCluster(
            clusters=[
                route.WeightedCluster.ClusterWeight(
                    name=str(item.cluster),
                    weight=api.uint32(item.weight),
                    host_rewrite_literal=edits.host(item.request_headers),
                    **edits.request(item.request_headers),
                    **edits.response(item.response_headers),
                )
                for item in backends
            ]
        )
    )


def _edits(backend: Backend) -> bool:
    return any((edit.set or edit.add or edit.remove) for edit in (backend.request_headers, backend.response_headers))


def _mirror(mirror: Mirror) -> route.RouteAction.RequestMirrorPolicy:
    return route.RouteAction.RequestMirrorPolicy(
        cluster=str(mirror.cluster),
        runtime_fraction=core.RuntimeFractionalPercent(
            default_value=matches.fraction(mirror.numerator, mirror.denominator)
        ),
        disable_shadow_host_suffix_append=True,
    )


def _retry(retry: Retry, per_try: int) -> route.RetryPolicy:
    """Never twice at the endpoint that just failed, as long as there is another.

    What the callee's proxy answered because its application gave no answer is tried again, and so is a connection that ends
    without one: where that proxy does not understand requests, it is the same. With a time-out for each attempt a connection
    is not, because Envoy takes both for one. What an application answered is tried again where the rule says so.
    """
    conditions = (*retry.conditions, "retriable-headers") if retry.attempts else ()
    if retry.attempts and not per_try:
        conditions = (*conditions, "reset")
    if retry.attempts and retry.codes:
        conditions = (*conditions, "retriable-status-codes")
    return route.RetryPolicy(
        retry_on=",".join(dict.fromkeys(conditions)),
        num_retries=api.uint32(retry.attempts),
        retriable_status_codes=retry.codes if retry.attempts else (),
        retriable_headers=[route.HeaderMatcher(name=UNANSWERED, present_match=True)] if retry.attempts else (),
        per_try_timeout=api.duration(per_try) if per_try else None,
        retry_back_off=route.RetryPolicy.RetryBackOff(
            base_interval=api.duration(max(retry.backoff, 1)), max_interval=api.duration(10 * max(retry.backoff, 1))
        ),
        retry_host_predicate=[
            route.RetryPolicy.RetryHostPredicate(
                name="envoy.retry_host_predicates.previous_hosts",
                typed_config=api.pack(previous_hosts.PreviousHostsPredicate()),
            )
        ],
        host_selection_retry_max_attempts=RETRY_ATTEMPTS_PER_HOST,
    )


def harmless(host: VirtualHost) -> VirtualHost:
    """``host`` without what Envoy would refuse: such a rule answers 500 to what it matches, and one whose matches are
    what is wrong is left out.
    """
    return msgspec.structs.replace(
        host, rules=tuple(kept for rule in host.rules if (kept := _harmless(rule)) is not None)
    )


def _harmless(rule: Rule) -> Rule | None:
    if not any(check.refusals(item) for item in rule_routes(rule)):
        return rule
    sound = tuple(match for match in rule.matches if not check.refusals(matches.route_match(match)))
    kept = Rule(source=rule.source, matches=sound)
    return kept if sound and not any(check.refusals(item) for item in rule_routes(kept)) else None
