"""HTTPRoute: which requests go where, as the Gateway API spells it.

Source: Gateway API v1.4, HTTPRoute specification and the validation rules of its CRD (experimental channel). Known and
refused, because nothing here gives them effect: ``sessionPersistence``, ``useDefaultGateways``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

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
    Object,
    ObjectName,
    PortNumber,
    Refused,
    Subdomain,
    WildcardHost,
    milliseconds,
    shown,
    unique,
)
from weft.api.filters import BackendObjectRef, Filter, HeaderValue, Method, check_filters
from weft.api.kinds import GATEWAY_GROUP
from weft.api.regex import check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.api.path import Path

_PATH: Final = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})++")
_PATH_RULES: Final = (
    ("//", "'//'"),
    ("/./", "'/./'"),
    ("/../", "'/../'"),
    ("%2f", "an encoded '/'"),
    ("%2F", "an encoded '/'"),
)


class PathMatch(Model):
    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: Annotated[str, Field(max_length=1024)] = "/"

    def findings(self) -> Iterator[Finding]:
        if self.type == "RegularExpression":
            yield from _regex(self.value)
            return
        message = _path_fault(self.value)
        if message:
            remedy = "Write an absolute path such as /cart, or use type RegularExpression"
            yield Finding(code="WFT-1105", message=message, remedy=remedy, path=("value",))


def _path_fault(value: str) -> str:
    if not value.startswith("/"):
        return f"path {shown(value)} does not begin with '/'"
    for part, name in _PATH_RULES:
        if part in value:
            return f"path {shown(value)} contains {name}"
    if value.endswith(("/..", "/.")):
        return f"path {shown(value)} ends with a relative segment"
    if not _PATH.fullmatch(value):
        return f"path {shown(value)} has a character that a path cannot hold"
    return ""


def _regex(pattern: str) -> Iterator[Finding]:
    from pydantic_core import PydanticCustomError  # noqa: PLC0415 - only for the error's type

    try:
        check(pattern)
    except PydanticCustomError as error:
        for finding in (error.context or {})["findings"]:
            yield Finding(code=finding.code, message=finding.message, remedy=finding.remedy, path=("value",))


class HeaderMatch(Model):
    name: HeaderName
    type: Literal["Exact", "RegularExpression"] = "Exact"
    value: HeaderValue

    def findings(self) -> Iterator[Finding]:
        if self.type == "RegularExpression":
            yield from _regex(self.value)


class QueryParamMatch(Model):
    name: HeaderName
    type: Literal["Exact", "RegularExpression"] = "Exact"
    value: Annotated[str, Field(min_length=1, max_length=1024)]

    def findings(self) -> Iterator[Finding]:
        if self.type == "RegularExpression":
            yield from _regex(self.value)


class Match(Model):
    path: PathMatch = PathMatch()
    headers: Annotated[Many[HeaderMatch], Field(max_length=16)] = ()
    query_params: Annotated[Many[QueryParamMatch], Field(max_length=16)] = ()
    method: Method | None = None

    def findings(self) -> Iterator[Finding]:
        headers = [(("headers", index, "name"), match.name.lower()) for index, match in enumerate(self.headers)]
        yield from unique(list(headers), "header")
        params = [(("queryParams", index, "name"), match.name) for index, match in enumerate(self.query_params)]
        yield from unique(list(params), "query parameter")


class BackendRef(BackendObjectRef):
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    filters: Annotated[Many[Filter], Field(max_length=16)] = ()

    def findings(self) -> Iterator[Finding]:
        yield from super().findings()
        yield from check_filters(self.filters)


class Timeouts(Model):
    """``0s`` means no limit."""

    request: Duration | None = None
    backend_request: Duration | None = None

    def findings(self) -> Iterator[Finding]:
        if self.request is None or self.backend_request is None:
            return
        request, backend = milliseconds(self.request), milliseconds(self.backend_request)
        if request and backend > request:
            message = f"backendRequest {self.backend_request} is longer than request {self.request}"
            remedy = "Shorten backendRequest: each attempt is part of the whole"
            yield Finding(code="WFT-1105", message=message, remedy=remedy, path=("backendRequest",))


class Retry(Model):
    codes: Many[Annotated[int, Field(ge=400, le=599)]] = ()
    attempts: Annotated[int, Field(ge=0, le=100)] | None = None
    backoff: Duration | None = None


def _every_request(matches: tuple[Match, ...]) -> tuple[Match, ...]:
    return matches or (Match(),)


class Rule(Model):
    """One rule.

    Without matches it takes every request; ``retry`` and ``timeouts`` are the extended features GEP-1731, GEP-1742.
    """

    name: Subdomain | None = None
    matches: Annotated[Many[Match], Field(max_length=64), AfterValidator(_every_request)] = (Match(),)
    filters: Annotated[Many[Filter], Field(max_length=16)] = ()
    backend_refs: Annotated[Many[BackendRef], Field(max_length=16)] = ()
    timeouts: Timeouts | None = None
    retry: Retry | None = None
    session_persistence: Annotated[None, Refused("calls of one client are not kept together")] = None

    def findings(self) -> Iterator[Finding]:
        yield from check_filters(self.filters)
        if self.backend_refs and any(entry.type == "RequestRedirect" for entry in self.filters):
            message = "backendRefs beside a RequestRedirect filter: a redirected request is never forwarded"
            remedy = "Remove backendRefs, or the filter"
            yield Finding(code="WFT-1105", message=message, remedy=remedy, path=("backendRefs",), is_key=True)
        matches = self.matches
        if len(matches) != 1 or matches[0].path.type != "PathPrefix":
            for path in self._prefix_rewrites():
                message = "replacePrefixMatch needs exactly one match, of type PathPrefix"
                remedy = "Give the rule one PathPrefix match, or use ReplaceFullPath"
                yield Finding(code="WFT-1105", message=message, remedy=remedy, path=path)

    def _prefix_rewrites(self) -> Iterator[Path]:
        lists: list[tuple[Path, tuple[Filter, ...]]] = [(("filters",), self.filters)]
        lists += [(("backendRefs", index, "filters"), ref.filters) for index, ref in enumerate(self.backend_refs)]
        for path, filters in lists:
            for index, entry in enumerate(filters):
                for field, change in (("requestRedirect", entry.request_redirect), ("urlRewrite", entry.url_rewrite)):
                    if change and change.path and change.path.type == "ReplacePrefixMatch":
                        yield (*path, index, field, "path")


class ParentRef(Model):
    """What a route is attached to: a Gateway (or one of its listeners), or a Service for calls inside the mesh."""

    group: Group = GATEWAY_GROUP
    kind: KindName = "Gateway"
    namespace: Label | None = None
    name: ObjectName
    section_name: Subdomain | None = None
    port: PortNumber | None = None


class HTTPRouteSpec(Model):
    parent_refs: Annotated[Many[ParentRef], Field(max_length=32)] = ()
    hostnames: Annotated[Many[WildcardHost], Field(max_length=16)] = ()
    rules: Annotated[Many[Rule], Field(max_length=16)] = (Rule(),)
    use_default_gateways: Annotated[None, Refused("a route names its parents")] = None

    def findings(self) -> Iterator[Finding]:
        if sum(len(rule.matches) for rule in self.rules) > 128:
            message = f"{sum(len(rule.matches) for rule in self.rules)} matches; a route has at most 128"
            yield Finding(code="WFT-1105", message=message, remedy="Split the route", path=("rules",), is_key=True)
        yield from unique([(("rules", index, "name"), rule.name) for index, rule in enumerate(self.rules)], "rule name")
        yield from self._parents()

    def _parents(self) -> Iterator[Finding]:
        seen: dict[tuple[object, ...], list[ParentRef]] = {}
        for index, ref in enumerate(self.parent_refs):
            earlier = seen.setdefault((ref.group, ref.kind, ref.namespace, ref.name), [])
            section = (ref.section_name, ref.port)
            if any(section == (other.section_name, other.port) or section == (None, None) for other in earlier) or any(
                (other.section_name, other.port) == (None, None) for other in earlier
            ):
                message = f"{ref.kind} {ref.name} is a parent twice, and the two are not told apart"
                remedy = "Keep one, or give each a sectionName or port of its own"
                yield Finding(code="WFT-1105", message=message, remedy=remedy, path=("parentRefs", index))
            earlier.append(ref)


class HTTPRoute(Object):
    spec: HTTPRouteSpec
