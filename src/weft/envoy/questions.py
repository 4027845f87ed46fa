"""What a rule asks about a call, as Envoy's RBAC asks it.

Source: Istio, AuthorizationPolicy reference; Envoy, ``envoy.config.rbac.v3``. The application may read a request otherwise
than a proxy does: a header that came twice, a Host with a port, an identity of another trust domain. Wherever one spelling
can be read in two ways, a question is asked so that the doubtful call is refused: *widely* where a match leads to a refusal
(what DENY and CUSTOM list, what ALLOW excepts), *narrowly* where it leads to a permission (what ALLOW lists, what DENY excepts).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import re2

from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.rbac import v3 as rbac
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.type.matcher import v3 as matcher
from weft.envoy.protos.google import protobuf as wkt
from weft.model.trust import Attribute, Question, Text, TextKind, TokenIssuer

if TYPE_CHECKING:
    from collections.abc import Iterable

JWT_METADATA: Final = "envoy.filters.http.jwt_authn"
"""The namespace into which Envoy's JWT filter writes the payload of a valid token."""
SPIFFE: Final = "spiffe://"
PERMISSIONS: Final = frozenset(
    {Attribute.HOST, Attribute.METHOD, Attribute.PATH, Attribute.PORT, Attribute.DESTINATION_IP, Attribute.SNI}
)
"""What Envoy asks as a permission; everything else it asks as a principal, and headers as either."""

_ANY: Final = r"\C"
"""One byte. ``.`` is one character, and bytes that are no characters would pass by."""


class Asked(msgspec.Struct, frozen=True):
    """Where a question is asked: whose own trust domain, which port, which tokens; and whether a match refuses the call.

    ``port`` 0: it is not known before there is a connection. ``edge``: callers are strangers, and Envoy says where they are.
    """

    domain: str
    port: int
    issuers: tuple[TokenIssuer, ...]
    refuses: bool
    edge: bool = False


def payload(index: int) -> str:
    """The key under which the payload of the tokens of issuer number ``index`` stands."""
    return f"payload-{index}"


# --- permissions


def never() -> rbac.Permission:
    return rbac.Permission(not_rule=rbac.Permission(any=True))


def permission(question: Question, asked: Asked) -> rbac.Permission:
    """A question about what is called. Raises ``ValueError`` for one that only a principal can be asked."""
    parts: list[rbac.Permission] = []
    if question.any_of:
        parts.append(_any_permission(question, question.any_of, asked, refuses=asked.refuses))
    if question.none_of:
        none = _any_permission(question, question.none_of, asked, refuses=not asked.refuses)
        parts.append(rbac.Permission(not_rule=none))
    return all_permissions(parts)


def all_permissions(parts: list[rbac.Permission]) -> rbac.Permission:
    if not parts:
        return rbac.Permission(any=True)
    return parts[0] if len(parts) == 1 else rbac.Permission(and_rules=rbac.Permission.Set(rules=parts))


def _any_permission(question: Question, texts: tuple[Text, ...], asked: Asked, *, refuses: bool) -> rbac.Permission:
    made = [_permission(question, text, asked, refuses=refuses) for text in texts]
    return made[0] if len(made) == 1 else rbac.Permission(or_rules=rbac.Permission.Set(rules=made))


def _permission(question: Question, text: Text, asked: Asked, *, refuses: bool) -> rbac.Permission:
    made = rbac.Permission
    match question.attribute:
        case Attribute.HOST:
            host = _at_edge(text, asked.port) if asked.edge else text
            return made(header=_named(":authority", _host(host, refuses=refuses))) if host else never()
        case Attribute.METHOD:
            return made(header=_named(":method", string(text)))
        case Attribute.HEADER:
            return made(header=_named(question.name, _header(text, refuses=refuses)))
        case Attribute.PATH:
            return made(url_path=matcher.PathMatcher(path=_path(text)))
        case Attribute.SNI:
            return made(requested_server_name=string(text))
        case Attribute.DESTINATION_IP:
            return made(destination_ip=_block(text.value))
        case Attribute.PORT if asked.port:
            return made(any=True) if text.value == str(asked.port) else never()
        case Attribute.PORT:
            return made(destination_port=int(text.value))
        case _:
            raise ValueError(f"{question.attribute.value} is not about what is called")


# --- principals


def nobody() -> rbac.Principal:
    return rbac.Principal(not_id=rbac.Principal(any=True))


def principal(question: Question, asked: Asked) -> rbac.Principal:
    """A question about who calls. Raises ``ValueError`` for one that only a permission can be asked."""
    parts: list[rbac.Principal] = []
    if question.any_of:
        parts.append(_any_principal(question, question.any_of, asked, refuses=asked.refuses))
    if question.none_of:
        none = _any_principal(question, question.none_of, asked, refuses=not asked.refuses)
        parts.append(rbac.Principal(not_id=none))
    return all_principals(parts)


def all_principals(parts: list[rbac.Principal]) -> rbac.Principal:
    if not parts:
        return rbac.Principal(any=True)
    return parts[0] if len(parts) == 1 else rbac.Principal(and_ids=rbac.Principal.Set(ids=parts))


def any_principal(parts: list[rbac.Principal]) -> rbac.Principal:
    if not parts:
        return nobody()
    return parts[0] if len(parts) == 1 else rbac.Principal(or_ids=rbac.Principal.Set(ids=parts))


def _any_principal(question: Question, texts: tuple[Text, ...], asked: Asked, *, refuses: bool) -> rbac.Principal:
    return any_principal([_principal(question, text, asked, refuses=refuses) for text in texts])


def _principal(question: Question, text: Text, asked: Asked, *, refuses: bool) -> rbac.Principal:
    domain = "[^/]+" if refuses else _escaped(asked.domain)
    match question.attribute:
        case Attribute.PRINCIPAL:
            return identity(_identity(text))
        case Attribute.NAMESPACE:
            return identity(_regex(f"{SPIFFE}{domain}/ns/{_part(text, '[^/]')}/sa/[^/]+"))
        case Attribute.SERVICE_ACCOUNT:
            return identity(_account(text, domain))
        case Attribute.IP_BLOCK:
            return rbac.Principal(direct_remote_ip=_block(text.value))
        case Attribute.REMOTE_IP_BLOCK:
            return _original(_block(text.value), edge=asked.edge)
        case Attribute.HEADER:
            return rbac.Principal(header=_named(question.name, _header(text, refuses=refuses)))
        case Attribute.REQUEST_PRINCIPAL:
            return any_principal(list(_subjects(text, asked.issuers)))
        case Attribute.AUDIENCE:
            return _claim(("aud",), text, asked)
        case Attribute.PRESENTER:
            return _claim(("azp",), text, asked)
        case Attribute.CLAIM:
            return _claim(tuple(question.name.split("\0")), text, asked)
        case _:
            raise ValueError(f"{question.attribute.value} is not about who calls")


def identity(match: matcher.StringMatcher) -> rbac.Principal:
    """A caller with a certificate whose URI SAN matches. Never without a match: that is true of a caller without one."""
    return rbac.Principal(authenticated=rbac.Principal.Authenticated(principal_name=match))


# --- matches of texts


def string(text: Text) -> matcher.StringMatcher:
    """A value as it is."""
    match text.kind:
        case TextKind.EXACT:
            return matcher.StringMatcher(exact=text.value)
        case TextKind.PREFIX if text.value:
            return matcher.StringMatcher(prefix=text.value)
        case TextKind.SUFFIX if text.value:
            return matcher.StringMatcher(suffix=text.value)
        case _:
            return _regex(_part(text, _ANY))


def _part(text: Text, letter: str) -> str:
    """A regular expression of a text, in which a star stands for any number of ``letter``."""
    value = _escaped(text.value)
    match text.kind:
        case TextKind.EXACT:
            return value
        case TextKind.PREFIX:
            return f"{value}{letter}*"
        case TextKind.SUFFIX:
            return f"{letter}*{value}"
        case TextKind.PRESENT:
            return f"{letter}+"
        case TextKind.TEMPLATE:
            return _template(text.value)
        case TextKind.REGEX:
            return f"(?:{text.value})"


def _escaped(text: str) -> str:
    return str(re2.escape(text))


def _regex(pattern: str) -> matcher.StringMatcher:
    return matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=pattern))


def _template(value: str) -> str:
    """``{*}`` is one segment, ``{**}`` any number. Not Envoy's own templates: letters that they do not know pass them by."""
    pieces = [f"{_ANY}*".join(_escaped(piece) for piece in part.split("{**}")) for part in value.split("{*}")]
    return "[^/]+".join(pieces)


def _path(text: Text) -> matcher.StringMatcher:
    """The path without its query, after normalisation."""
    return string(text)


def _at_edge(text: Text, port: int) -> Text | None:
    """A host at a Gateway's listener, which takes the port from every Host: a rule that names one means the listener's own, as
    ``ports`` do. None: it names another.
    """
    name, colon, number = text.value.rpartition(":")
    if not colon or (name.startswith("[") and not name.endswith("]")):
        return text
    if text.kind is TextKind.PREFIX:
        return Text(TextKind.EXACT, name) if str(port).startswith(number) else None
    if not number.isdigit() or text.kind not in (TextKind.EXACT, TextKind.SUFFIX):
        return text
    if number != str(port):
        return None
    return msgspec.structs.replace(text, value=name) if name else Text(TextKind.PRESENT)


def _host(text: Text, *, refuses: bool) -> matcher.StringMatcher:
    """A host in any case, with or without a port, with or without the dot at its end; a port that is named counts. Of two Host
    headers, which Envoy joins by a comma, each counts where a match refuses.
    """
    begin, port = (rf"(?:{_ANY}*[,@])?[ \t]*", rf"(?::{_ANY}*)?") if refuses else ("", "(?::[0-9]+)?")
    end = rf"(?:[ \t]*,{_ANY}*)?" if refuses else ""
    name, _, number = text.value.rpartition(":")
    if name and number.isdigit() and text.kind in (TextKind.EXACT, TextKind.SUFFIX):
        port = f":{_escaped(number)}"
        text = msgspec.structs.replace(text, value=name)
    if text.kind is TextKind.PREFIX:
        return _regex(f"(?i){begin}{_part(text, _ANY)}")
    return _regex(rf"(?i){begin}{_part(text, _ANY)}\.*{port}{end}")


def _header(text: Text, *, refuses: bool) -> matcher.StringMatcher:
    """Envoy joins a header that came several times by commas (the bootstrap sees to that): what it allows must be all of it, and
    where a match refuses, each of its values counts.
    """
    if not refuses or text.kind is TextKind.PRESENT:
        return string(text)
    return _regex(f"(?:{_ANY}*,)?[ \\t]*{_part(text, _ANY)}[ \\t]*(?:,{_ANY}*)?")


def _identity(text: Text) -> matcher.StringMatcher:
    """A SPIFFE ID, with or without its scheme."""
    match text.kind:
        case TextKind.EXACT | TextKind.PREFIX:
            value = text.value if text.value.startswith(SPIFFE) else f"{SPIFFE}{text.value}"
            return string(msgspec.structs.replace(text, value=value))
        case TextKind.PRESENT:
            return _regex(f"{SPIFFE}[^/]+/.+")
        case _:
            return string(text)


def _original(block: core.CidrRange, *, edge: bool) -> rbac.Principal:
    """The address of the original client. At an edge Envoy finds it; behind one it is what callers with an identity say it is,
    and for anybody else the address of the connection: who has no identity could say anything.
    """
    said = rbac.Principal(remote_ip=block)
    if edge:
        return said
    known = identity(_identity(Text(TextKind.PRESENT)))
    unknown = rbac.Principal(not_id=known)
    return any_principal(
        [all_principals([known, said]), all_principals([unknown, rbac.Principal(direct_remote_ip=block)])]
    )


def _account(text: Text, domain: str) -> matcher.StringMatcher:
    """``namespace/name`` of a service account."""
    namespace, _, name = text.value.partition("/")
    return _regex(f"{SPIFFE}{domain}/ns/{_escaped(namespace)}/sa/{_escaped(name)}")


def _named(name: str, match: matcher.StringMatcher) -> route.HeaderMatcher:
    return route.HeaderMatcher(name=name, string_match=match)


def _block(value: str) -> core.CidrRange:
    """``10.0.0.0/8``, or one address."""
    address, slash, length = value.partition("/")
    bits = int(length) if slash else (128 if ":" in address else 32)
    return core.CidrRange(address_prefix=address, prefix_len=wkt.UInt32Value(value=bits))


# --- tokens


def _claim(path: tuple[str, ...], text: Text, asked: Asked) -> rbac.Principal:
    """A claim that is a text, or a list of texts of which one matches, of whichever token was valid."""
    return any_principal(
        [_metadata((payload(index), *path), _value(string(text))) for index in range(len(asked.issuers))]
    )


def _value(match: matcher.StringMatcher) -> matcher.ValueMatcher:
    one = matcher.ValueMatcher(string_match=match)
    several = matcher.ValueMatcher(list_match=matcher.ListMatcher(one_of=one))
    return matcher.ValueMatcher(or_match=matcher.OrMatcher(value_matchers=[one, several]))


def _metadata(path: tuple[str, ...], match: matcher.ValueMatcher) -> rbac.Principal:
    segments = [matcher.MetadataMatcher.PathSegment(key=key) for key in path]
    sourced = rbac.SourcedMetadata(
        metadata_matcher=matcher.MetadataMatcher(filter=JWT_METADATA, path=segments, value=match)
    )
    return rbac.Principal(sourced_metadata=sourced)


def _subjects(text: Text, issuers: tuple[TokenIssuer, ...]) -> Iterable[rbac.Principal]:
    """``issuer/subject``. Which issuers there are is known, so that what is left to ask is the subject of each."""
    for index, each in enumerate(issuers):
        for match in _subject(text, f"{each.issuer}/"):
            value = matcher.ValueMatcher(string_match=match)
            yield _metadata((payload(index), "sub"), value)


def _subject(text: Text, issuer: str) -> Iterable[matcher.StringMatcher]:
    some = _regex(f"{_ANY}+")
    value = text.value
    match text.kind:
        case TextKind.EXACT if value.startswith(issuer) and value != issuer:
            yield matcher.StringMatcher(exact=value.removeprefix(issuer))
        case TextKind.PREFIX if issuer.startswith(value):
            yield some
        case TextKind.PREFIX if value.startswith(issuer):
            yield matcher.StringMatcher(prefix=value.removeprefix(issuer))
        case TextKind.SUFFIX if value:
            yield matcher.StringMatcher(suffix=value)
            yield from (
                matcher.StringMatcher(exact=value[cut:])
                for cut in range(1, len(value))
                if issuer.endswith(value[:cut]) and value[cut - 1] == "/"
            )
        case TextKind.PRESENT:
            yield some
