"""The filters of an HTTPRoute: what is changed, copied, answered or allowed on the way.

Source: Gateway API v1.4, HTTPRoute specification and the validation rules of its CRD (experimental channel). Redirect
status codes 303, 307 and 308 are those of v1.5. ExternalAuth is known and refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field

from weft.api.base import (
    Finding,
    Group,
    HeaderName,
    Host,
    KindName,
    Label,
    Many,
    Model,
    ObjectName,
    PortNumber,
    Refused,
    shown,
    unique,
    wrong,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.api.path import Path

_VALUE: Final = re.compile(r"[!-~]++(?:[\t ]?[!-~]++)*+")
_ORIGIN: Final = re.compile(
    r"\*|[a-zA-Z][a-zA-Z0-9+.-]*+://(?:\*|(?:\*\.)?(?:[a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?"
)

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
CorsMethod = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"]
Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]


def _is_header_value(value: str) -> str:
    if len(value) > 4096 or not _VALUE.fullmatch(value):
        message = (
            f"{shown(value)} is not a header value (at most 4,096 visible ASCII characters, single spaces between)"
        )
        wrong("WFT-1105", message, "Write it without line breaks and without spaces at its ends")
    return value


def _is_origin(value: str) -> str:
    if len(value) > 253 or not _ORIGIN.fullmatch(value):
        message = f"{shown(value)} is not an origin"
        wrong("WFT-1105", message, "Write SCHEME://HOST[:PORT], a host with a leading '*.', or '*' alone")
    return value


def _is_replacement(value: str) -> str:
    if len(value) > 1024 or any(not " " < character < "\x7f" or character in "?#" for character in value):
        message = f"{shown(value)} is not a path (at most 1,024 visible ASCII characters without '?' and '#')"
        wrong("WFT-1105", message, "Write a path such as /new")
    return value


HeaderValue = Annotated[str, AfterValidator(_is_header_value)]
Replacement = Annotated[str, AfterValidator(_is_replacement)]


class Header(Model):
    name: HeaderName
    value: HeaderValue


class HeaderModifier(Model):
    set: Annotated[Many[Header], Field(max_length=16)] = ()
    add: Annotated[Many[Header], Field(max_length=16)] = ()
    remove: Annotated[Many[HeaderName], Field(max_length=16)] = ()

    def findings(self) -> Iterator[Finding]:
        names: list[tuple[Path, object]] = []
        for field, headers in (("set", self.set), ("add", self.add)):
            names.extend(((field, index, "name"), header.name.lower()) for index, header in enumerate(headers))
        names.extend((("remove", index), name.lower()) for index, name in enumerate(self.remove))
        yield from unique(names, "header")
        for path, name in names:
            if name == "host":
                message = "the Host header is not changed by a header modifier"
                yield Finding(code="WFT-1105", message=message, remedy="Use URLRewrite with hostname", path=path)
        if not names:
            yield Finding(code="WFT-1104", message="the modifier changes nothing", remedy="Add set, add or remove")


class PathModifier(Model):
    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: Replacement | None = None
    replace_prefix_match: Replacement | None = None

    def findings(self) -> Iterator[Finding]:
        fields = {"ReplaceFullPath": "replaceFullPath", "ReplacePrefixMatch": "replacePrefixMatch"}
        values = {"replaceFullPath": self.replace_full_path, "replacePrefixMatch": self.replace_prefix_match}
        yield from matches_type(self.type, fields, {name for name, value in values.items() if value is not None})


class RequestRedirect(Model):
    scheme: Literal["http", "https"] | None = None
    hostname: Host | None = None
    path: PathModifier | None = None
    port: PortNumber | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class UrlRewrite(Model):
    hostname: Host | None = None
    path: PathModifier | None = None

    def findings(self) -> Iterator[Finding]:
        if self.hostname is None and self.path is None:
            yield Finding(code="WFT-1104", message="the rewrite changes nothing", remedy="Add hostname or path")


class BackendObjectRef(Model):
    """A reference to what receives requests: a Service and one of its ports, or a kind that an implementation knows."""

    group: Group = ""
    kind: KindName = "Service"
    name: ObjectName
    namespace: Label | None = None
    port: PortNumber | None = None

    def findings(self) -> Iterator[Finding]:
        if self.group == "" and self.kind == "Service" and self.port is None:
            message = f"the reference to Service {self.name} names no port"
            yield Finding(code="WFT-1104", message=message, remedy="Add the Service's port", path=("port",))


class Fraction(Model):
    numerator: Annotated[int, Field(ge=0, le=2**31 - 1)]
    denominator: Annotated[int, Field(ge=1, le=2**31 - 1)] = 100

    def findings(self) -> Iterator[Finding]:
        if self.numerator > self.denominator:
            message = f"{self.numerator}/{self.denominator} is more than the whole"
            yield Finding(code="WFT-1105", message=message, remedy="Lower the numerator", path=("numerator",))


class RequestMirror(Model):
    backend_ref: BackendObjectRef
    percent: Annotated[int, Field(ge=0, le=100)] | None = None
    fraction: Fraction | None = None

    def findings(self) -> Iterator[Finding]:
        if self.percent is not None and self.fraction is not None:
            message = "percent and fraction both say how much is mirrored"
            yield Finding(code="WFT-1105", message=message, remedy="Keep one of them", path=("fraction",), is_key=True)


class Cors(Model):
    """``allowOrigins`` may hold ``*`` alone, or hosts with a leading ``*.``; ``maxAge`` in seconds."""

    allow_origins: Annotated[Many[Annotated[str, AfterValidator(_is_origin)]], Field(max_length=64)] = ()
    allow_methods: Annotated[Many[CorsMethod], Field(max_length=9)] = ()
    allow_headers: Annotated[Many[HeaderName], Field(max_length=64)] = ()
    expose_headers: Annotated[Many[HeaderName], Field(max_length=64)] = ()
    allow_credentials: bool = False
    max_age: Annotated[int, Field(ge=1, le=2**31 - 1)] = 5

    def findings(self) -> Iterator[Finding]:
        lists = (
            ("allowOrigins", self.allow_origins),
            ("allowMethods", self.allow_methods),
            ("allowHeaders", self.allow_headers),
        )
        for field, values in lists:
            if "*" in values and len(values) > 1:
                message = f"'*' in {field} already means all"
                yield Finding(code="WFT-1105", message=message, remedy="Keep '*' alone, or remove it", path=(field,))


class ExtensionRef(Model):
    """A filter of another kind.

    weft knows none: the compiler answers the rule's requests with an error, as specified.
    """

    group: Group
    kind: KindName
    name: ObjectName


FILTER_FIELDS: Final = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestMirror": "requestMirror",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
    "CORS": "cors",
    "ExtensionRef": "extensionRef",
}
"""The types of a filter, and the field that each fills."""

_ONCE: Final = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS")


class Filter(Model):
    type: Literal[
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "CORS",
        "ExtensionRef",
    ]
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_mirror: RequestMirror | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: Annotated[UrlRewrite | None, Field(alias="urlRewrite")] = None
    cors: Cors | None = None
    extension_ref: ExtensionRef | None = None
    external_auth: Annotated[None, Refused("authorization by a service of yours is not built yet")] = None

    def findings(self) -> Iterator[Finding]:
        values = {
            "requestHeaderModifier": self.request_header_modifier,
            "responseHeaderModifier": self.response_header_modifier,
            "requestMirror": self.request_mirror,
            "requestRedirect": self.request_redirect,
            "urlRewrite": self.url_rewrite,
            "cors": self.cors,
            "extensionRef": self.extension_ref,
        }
        yield from matches_type(self.type, FILTER_FIELDS, {name for name, value in values.items() if value is not None})


def matches_type(kind: str, fields: dict[str, str], given: set[str]) -> Iterator[Finding]:
    """The field of a union's ``type`` must be there, and those of its other types must not."""
    wanted = fields[kind]
    if wanted not in given:
        yield Finding(code="WFT-1104", message=f"type {kind} needs {wanted}", remedy=f"Add {wanted}", path=(wanted,))
    for field in sorted(given - {wanted}):
        remedy = f"Remove {field}, or change type"
        message = f"{field} has no place beside type {kind}"
        yield Finding(code="WFT-1105", message=message, remedy=remedy, path=(field,), is_key=True)


def check_filters(filters: tuple[Filter, ...]) -> Iterator[Finding]:
    """What a list of filters must not hold: one type twice where once is meant, or a redirect beside a rewrite."""
    types = [entry.type for entry in filters]
    for index, kind in enumerate(types):
        if kind in _ONCE and kind in types[:index]:
            message = f"a second {kind} filter"
            yield Finding(code="WFT-1105", message=message, remedy="Join it with the first", path=("filters", index))
    if "RequestRedirect" in types and "URLRewrite" in types:
        path = ("filters", types.index("URLRewrite"))
        message = "URLRewrite beside RequestRedirect: a redirected request is never forwarded"
        yield Finding(code="WFT-1105", message=message, remedy="Keep one of the two", path=path)
