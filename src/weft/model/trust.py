"""Who is who, and who may do what: identities, how two proxies speak to one another, and what guards a port.

Engine-neutral; the words and the semantics are those of SPIFFE and of Istio's security API. A guard is everything that holds
at one port of one workload (or at one Gateway), in the order in which it is asked: mutual TLS, tokens, CUSTOM, DENY, ALLOW.
"""

from __future__ import annotations

import enum

import msgspec

from weft.values import Milliseconds, Pairs


class TlsMode(enum.Enum):
    """What a port takes from other proxies. Source: Istio, PeerAuthentication.MutualTLS.Mode."""

    STRICT = "STRICT"
    PERMISSIVE = "PERMISSIVE"
    DISABLE = "DISABLE"


class Shape(enum.Enum):
    """How bytes travel from the caller's proxy to the callee's (docs/concepts/shapes.md). The caller's side follows it; the
    callee's listener takes every shape at any time, told apart by ALPN, so that a switch loses nothing.
    """

    PLAIN = "plain"
    """No TLS: the callee has no proxy, or DISABLE was asked for."""
    RAW = "raw"
    """Mutual TLS around the application's own protocol: HTTP is understood by the caller's proxy only."""
    HTTP = "http"
    """Mutual TLS around HTTP/2 between two proxies that both understand requests."""
    TUNNEL = "tunnel"
    """Opaque TCP as CONNECT streams of a pooled mutual TLS HTTP/2 connection (HBONE)."""


class Action(enum.Enum):
    """Source: Istio, AuthorizationPolicy.Action. Asked in the order CUSTOM, DENY, ALLOW; AUDIT decides nothing."""

    CUSTOM = "CUSTOM"
    DENY = "DENY"
    ALLOW = "ALLOW"
    AUDIT = "AUDIT"


class TextKind(enum.Enum):
    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    PRESENT = "present"
    """``*``: there is one, and it is not empty."""
    TEMPLATE = "template"
    """A path with ``{*}`` (one segment) and ``{**}`` (any number). Source: Istio, Operation.paths."""
    REGEX = "regex"
    """An RE2 expression that the whole value must match. SMI only: Istio's policies have none."""


class Text(msgspec.Struct, frozen=True, cache_hash=True, order=False):
    """One value in a list of a rule. ``value`` without the stars that made it a prefix or a suffix."""

    kind: TextKind
    value: str = ""


class Attribute(enum.Enum):
    """What a rule can ask about a call. The values are Istio's names of ``when`` keys where there is one."""

    PRINCIPAL = "source.principal"
    """A SPIFFE ID. Exact values and prefixes begin with ``spiffe://``; aliases of the trust domain are written out."""
    NAMESPACE = "source.namespace"
    SERVICE_ACCOUNT = "source.serviceAccount"
    """``namespace/name`` of the caller's service account."""
    TRUST_DOMAIN = "source.trustDomain"
    """That of the caller's SPIFFE ID; aliases of our own are written out."""
    IP_BLOCK = "source.ip"
    """The address of the connection; values are CIDR blocks."""
    REMOTE_IP_BLOCK = "remote.ip"
    """The address of the original client, as trusted edges forwarded it; values are CIDR blocks."""
    REQUEST_PRINCIPAL = "request.auth.principal"
    """``issuer/subject`` of a valid token."""
    AUDIENCE = "request.auth.audiences"
    PRESENTER = "request.auth.presenter"
    CLAIM = "request.auth.claims"
    """``name`` is the path of the claim, its parts joined by a NUL character."""
    HEADER = "request.headers"
    """``name`` is the header's name, lower case."""
    HOST = "request.host"
    """Lower case. A value without a port stands for the host at any port, one with a port for that port alone."""
    METHOD = "request.method"
    PATH = "request.path"
    PORT = "destination.port"
    """Asked at Gateways alone, where it is the Gateway's own port: a workload's guard holds for one port, and what its rules
    say of ports is decided already.
    """
    DESTINATION_IP = "destination.ip"
    SNI = "connection.sni"

    @property
    def is_http(self) -> bool:
        """Only a request has it, a connection has not."""
        return self in _OF_REQUESTS


_OF_REQUESTS = frozenset(
    {
        Attribute.REMOTE_IP_BLOCK,
        Attribute.REQUEST_PRINCIPAL,
        Attribute.AUDIENCE,
        Attribute.PRESENTER,
        Attribute.CLAIM,
        Attribute.HEADER,
        Attribute.HOST,
        Attribute.METHOD,
        Attribute.PATH,
    }
)


class Question(msgspec.Struct, frozen=True, cache_hash=True):
    """One question about a call: any of ``any_of`` (when there are some), and none of ``none_of``."""

    attribute: Attribute
    any_of: tuple[Text, ...] = ()
    none_of: tuple[Text, ...] = ()
    name: str = ""


class AuthRule(msgspec.Struct, frozen=True, cache_hash=True):
    """``source`` is its provenance, ``AuthorizationPolicy/shop/pay/rules/0``. It holds when one of ``sources`` (each a group
    of questions that must all hold), one of ``operations`` and all of ``conditions`` hold; an empty part holds always.
    """

    source: str
    sources: tuple[tuple[Question, ...], ...] = ()
    operations: tuple[tuple[Question, ...], ...] = ()
    conditions: tuple[Question, ...] = ()

    @property
    def questions(self) -> tuple[Question, ...]:
        groups = (*self.sources, *self.operations, self.conditions)
        return tuple(question for group in groups for question in group)


class Provider(msgspec.Struct, frozen=True, cache_hash=True, kw_only=True):
    """An external authorizer. ``cluster`` is the outbound cluster of its service. Fails closed unless ``fail_open``."""

    name: str
    cluster: str
    grpc: bool
    timeout: Milliseconds = Milliseconds(600)
    fail_open: bool = False
    status_on_error: int = 403
    path_prefix: str = ""
    include_headers: tuple[str, ...] = ()
    add_headers: Pairs = ()
    headers_upstream: tuple[str, ...] = ()
    headers_downstream: tuple[str, ...] = ()
    headers_on_deny: tuple[str, ...] = ()
    body_limit_bytes: int = 0
    body_partial: bool = False
    service: str = ""
    """``name.namespace`` of the service that is asked."""


class AuthPolicy(msgspec.Struct, frozen=True, cache_hash=True):
    """One policy that applies here. Without rules ALLOW allows nothing, and the others never hold. ``dry_run``: it is counted
    and logged what it would have done. ``provider`` belongs to CUSTOM.
    """

    source: str
    action: Action
    rules: tuple[AuthRule, ...] = ()
    dry_run: bool = False
    provider: Provider | None = None


class TokenPlace(msgspec.Struct, frozen=True, cache_hash=True):
    """Where a token may be: exactly one of the three names. ``prefix`` is cut from a header's value."""

    header: str = ""
    prefix: str = ""
    parameter: str = ""
    cookie: str = ""


class TokenIssuer(msgspec.Struct, frozen=True, cache_hash=True, kw_only=True):
    """Tokens of one issuer. ``jwks`` is the JSON of its keys, empty when they could not be had: every token is refused then.

    Without ``places`` a token is looked for in ``Authorization: Bearer`` and in the parameter ``access_token``.
    ``claim_headers`` are (header, claim path joined by NUL).
    """

    source: str
    issuer: str
    audiences: tuple[str, ...] = ()
    jwks: str = ""
    jwks_uri: str = ""
    places: tuple[TokenPlace, ...] = ()
    forward: bool = False
    payload_header: str = ""
    claim_headers: Pairs = ()
    spaced: tuple[str, ...] = ()
    """Claims whose text is a list of words, beside those of which that is always so."""


class Guard(msgspec.Struct, frozen=True, cache_hash=True, kw_only=True):
    """Everything that holds at one port of a workload, or at a Gateway. Every tuple in the order of names."""

    mode: TlsMode = TlsMode.PERMISSIVE
    mode_source: str = ""
    """The PeerAuthentication that said so; empty: nobody did."""
    policies: tuple[AuthPolicy, ...] = ()
    issuers: tuple[TokenIssuer, ...] = ()
    default_deny: bool = False
    """Without any ALLOW policy: nobody may call, instead of everybody."""
    identity_header: bool = False
    """The application wants ``x-forwarded-client-cert``."""

    @property
    def needs_http(self) -> bool:
        """Something here asks about requests, so that the callee's proxy must understand HTTP."""
        return bool(self.why_http)

    @property
    def why_http(self) -> str:
        """The object that asks for HTTP first; empty when none does."""
        if self.identity_header:
            return "identityHeader"
        for issuer in self.issuers:
            return issuer.source
        for policy in self.policies:
            if policy.action is Action.CUSTOM:
                return policy.source
            for rule in policy.rules:
                if any(each.attribute.is_http for each in rule.questions):
                    return rule.source
        return ""


CLOSED = Guard(mode=TlsMode.STRICT, mode_source="weft", default_deny=True)
"""Nobody may call."""


class Trust(msgspec.Struct, frozen=True, cache_hash=True):
    """What the authority says that every proxy must know. ``federated`` are other trust domains whose bundles are held;
    ``banned`` are SPIFFE IDs, sorted. Bundles and keys themselves never pass through here: agents bring them by SDS.
    """

    domain: str = "local"
    federated: tuple[str, ...] = ()
    banned: tuple[str, ...] = ()


class Peers(msgspec.Struct, frozen=True, cache_hash=True):
    """How a port of a service is reached: the identities that its workloads may have (sorted), and the shape.

    ``mixed``: some endpoints have no proxy and are reached in the clear, the shape is RAW for the others. ``epoch`` changes
    when connections made before shall not be used any more: callers then make new ones and let the old ones finish.
    ``why`` says in words for people what decided the shape, or names the object that did. ``choosy`` are the ports and guards of
    the workloads, where every one of them might refuse a caller for who it is (``model.admission``). ``speaks_http``: every
    workload behind it has a proxy and says that it speaks HTTP, so that HTTP would be understood where RAW costs less.
    ``disabled``: the shape is PLAIN because whatever behind it has a proxy is in mode DISABLE.
    """

    identities: tuple[str, ...] = ()
    shape: Shape = Shape.PLAIN
    mixed: bool = False
    epoch: str = ""
    why: str = ""
    choosy: tuple[tuple[int, Guard], ...] = ()
    speaks_http: bool = False
    disabled: bool = False


def without_why(peers: Peers) -> Peers:
    """As an application's proxy calls it: what is for people must not make another cluster."""
    if not (peers.why or peers.choosy or peers.speaks_http or peers.disabled):
        return peers
    return msgspec.structs.replace(peers, why="", choosy=(), speaks_http=False, disabled=False)


def for_strangers(peers: Peers) -> Peers:
    """As a Gateway calls it: whoever drives it is not to decide how many connections it makes. A request that is reset costs
    a stream of a connection in HTTP, and a whole connection in RAW.
    """
    shape = Shape.HTTP if peers.shape is Shape.RAW and peers.speaks_http else peers.shape
    return without_why(msgspec.structs.replace(peers, shape=shape))


class KeySet(msgspec.Struct, frozen=True, cache_hash=True):
    """A JWKS that was fetched: its JSON, or why there is none. A failed fetch keeps the keys that were there."""

    uri: str
    jwks: str = ""
    problem: str = ""
