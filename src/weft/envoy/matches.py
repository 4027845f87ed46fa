"""Matches: which requests a rule is for, as Envoy's ``RouteMatch``.

Source: Gateway API HTTPRouteMatch. A path prefix matches whole segments, so ``/a`` and ``/a/`` mean the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.type import v3 as envoy_type
from weft.envoy.protos.envoy.type.matcher import v3 as matcher
from weft.model.route import Match, MatchKind, NamedMatch, StringMatch

if TYPE_CHECKING:
    from collections.abc import Iterable

MILLION: Final = 1_000_000


def route_match(match: Match, numerator: int = 1, denominator: int = 1) -> route.RouteMatch:
    """``match`` for Envoy, of which only ``numerator/denominator`` of the requests shall take this route."""
    made = route.RouteMatch(
        headers=list(_headers(match)),
        query_parameters=[
            route.QueryParameterMatcher(name=item.name, string_match=string(item.match)) for item in match.query
        ],
    )
    _path(made, match.path)
    if numerator < denominator:
        made.runtime_fraction.CopyFrom(core.RuntimeFractionalPercent(default_value=fraction(numerator, denominator)))
    return made


def fraction(numerator: int, denominator: int) -> envoy_type.FractionalPercent:
    """A share of requests, exact to one in a million."""
    return envoy_type.FractionalPercent(
        numerator=round(numerator * MILLION / denominator), denominator=envoy_type.FractionalPercent.MILLION
    )


def string(match: StringMatch) -> matcher.StringMatcher:
    """A match of a whole value."""
    match match.kind:
        case MatchKind.EXACT:
            return matcher.StringMatcher(exact=match.value)
        case MatchKind.PREFIX:
            return matcher.StringMatcher(prefix=match.value)
        case MatchKind.REGEX:
            return matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=match.value))


def prefix(value: str) -> matcher.StringMatcher:
    return matcher.StringMatcher(prefix=value)


def preflight(match: Match) -> Match | None:
    """The match of the browser's question ahead of a cross-origin request that ``match`` is for; None when ``match``
    matches that question itself, because it names no method.
    """
    if not match.method or match.method == "OPTIONS":
        return None
    asked = NamedMatch("access-control-request-method", StringMatch(MatchKind.EXACT, match.method))
    return Match(path=match.path, headers=(asked,), method="OPTIONS")


def _path(made: route.RouteMatch, path: StringMatch) -> None:
    match path.kind:
        case MatchKind.EXACT:
            made.path = path.value
        case MatchKind.REGEX:
            made.safe_regex.CopyFrom(matcher.RegexMatcher(regex=path.value))
        case MatchKind.PREFIX if path.value.rstrip("/"):
            made.path_separated_prefix = path.value.rstrip("/")
        case MatchKind.PREFIX:
            made.prefix = "/"


def _headers(match: Match) -> Iterable[route.HeaderMatcher]:
    if match.method:
        yield route.HeaderMatcher(name=":method", string_match=matcher.StringMatcher(exact=match.method))
    for item in match.headers:
        name = item.name.lower()
        yield route.HeaderMatcher(name=":authority" if name == "host" else name, string_match=string(item.match))


def connect() -> route.RouteMatch:
    """A CONNECT request, which has no path."""
    return route.RouteMatch(connect_matcher=route.RouteMatch.ConnectMatcher())


def everything() -> route.RouteMatch:
    return route.RouteMatch(prefix="/")
