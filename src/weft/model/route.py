"""How requests to a name are matched, changed and distributed. Engine-neutral; the Gateway API's semantics."""

from __future__ import annotations

import enum

import msgspec

from weft.model.policy import Retry
from weft.names import OutboundCluster
from weft.values import Milliseconds, Pairs


class MatchKind(enum.Enum):
    EXACT = "exact"
    PREFIX = "prefix"
    """For paths: by whole segments, as the Gateway API says (``/a`` matches ``/a`` and ``/a/b``, not ``/ab``)."""
    REGEX = "regex"
    """RE2, whole value."""


class StringMatch(msgspec.Struct, frozen=True, cache_hash=True):
    kind: MatchKind
    value: str


class NamedMatch(msgspec.Struct, frozen=True, cache_hash=True):
    """A match on a header (case-insensitive name) or a query parameter."""

    name: str
    match: StringMatch


class Match(msgspec.Struct, frozen=True, cache_hash=True):
    """All of it must hold; a rule with several matches needs any one of them."""

    path: StringMatch = StringMatch(MatchKind.PREFIX, "/")
    headers: tuple[NamedMatch, ...] = ()
    query: tuple[NamedMatch, ...] = ()
    method: str = ""


class HeaderEdit(msgspec.Struct, frozen=True, cache_hash=True):
    set: Pairs = ()
    add: Pairs = ()
    remove: tuple[str, ...] = ()


class PathRewrite(msgspec.Struct, frozen=True, cache_hash=True):
    """``replace_prefix`` replaces the matched prefix ``prefix``; otherwise the whole path becomes ``value``."""

    value: str
    replace_prefix: bool = False


class Redirect(msgspec.Struct, frozen=True, cache_hash=True):
    status: int = 302
    scheme: str = ""
    host: str = ""
    port: int = 0
    """0: the request stays at the port that it came to. With a scheme the compiler fills in the scheme's port."""
    path: PathRewrite | None = None


class Rewrite(msgspec.Struct, frozen=True, cache_hash=True):
    host: str = ""
    path: PathRewrite | None = None


class Mirror(msgspec.Struct, frozen=True, cache_hash=True):
    """A copy of some requests, whose answers are thrown away. ``numerator/denominator`` of them."""

    cluster: OutboundCluster
    numerator: int = 100
    denominator: int = 100


class Cors(msgspec.Struct, frozen=True, cache_hash=True):
    """Origins may carry one ``*`` as the Gateway API writes them; ``max_age`` in seconds, 0 means unset."""

    allow_origins: tuple[str, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    max_age_seconds: int = 0


class Backend(msgspec.Struct, frozen=True, cache_hash=True):
    """A share of a rule's requests. ``cluster`` is None for an invalid backend ref: its share answers 500."""

    cluster: OutboundCluster | None
    weight: int = 1
    request_headers: HeaderEdit = HeaderEdit()
    response_headers: HeaderEdit = HeaderEdit()


class Rule(msgspec.Struct, frozen=True, cache_hash=True):
    """One rule of a route. ``source`` is its provenance, ``HTTPRoute/shop/cart/rules/0``.

    ``request_timeout`` covers everything, ``backend_timeout`` each attempt; 0 means none, None means the default.
    A rule without redirect and without any backend of positive weight answers 500.
    """

    source: str
    matches: tuple[Match, ...] = (Match(),)
    backends: tuple[Backend, ...] = ()
    request_headers: HeaderEdit = HeaderEdit()
    response_headers: HeaderEdit = HeaderEdit()
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None
    mirrors: tuple[Mirror, ...] = ()
    cors: Cors | None = None
    request_timeout: Milliseconds | None = None
    backend_timeout: Milliseconds | None = None
    retry: Retry = Retry()


class VirtualHost(msgspec.Struct, frozen=True, cache_hash=True):
    """What one Host header means to one proxy: rules in the order of precedence (the first that matches wins).

    ``domain`` is the Host as asked (``reviews:9080``), a wildcard (``*.example.com``) or ``*`` at an edge. ``unknown`` is
    not empty when nothing has that name: every request is answered 502 with this text. ``passthrough`` sends it on to
    where it was going (``outboundTraffic: allowAny``).
    """

    domain: str
    rules: tuple[Rule, ...] = ()
    source: str = ""
    unknown: str = ""
    passthrough: bool = False
    refused: str = ""
    """The callee would refuse this caller whatever it asked: it is told why (403) instead (``model.admission``)."""


class RouteSet(msgspec.Struct, frozen=True, cache_hash=True):
    """Everything that routes one service's port, sorted by precedence. ``producer`` rules hold for every caller,
    ``consumer`` rules for the callers of one namespace, and replace the producer's there. Without rules: the service itself.
    """

    producer: tuple[Rule, ...] = ()
    consumer: tuple[tuple[str, tuple[Rule, ...]], ...] = ()
