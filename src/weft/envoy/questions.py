"""What a rule asks about a call, as Envoy's RBAC asks it.

Source: Istio, AuthorizationPolicy reference; Envoy, ``envoy.config.rbac.v3``. The application may read a request otherwise
than a proxy does: a header that came twice, a Host with a port, an identity of another trust domain. Wherever one spelling
can be read in two ways, a question is asked so that the doubtful call is refused: *widely* where a match leads to a refusal
(what DENY and CUSTOM list, what ALLOW excepts), *narrowly* where it leads to a permission (what ALLOW lists, what DENY excepts).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
import re2

from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.rbac import v3 as rbac
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.type.matcher import v3 as matcher
from weft.envoy.protos.google import protobuf as wkt
from weft.envoy.twins import twins
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

_PCHAR: Final = r"[a-zA-Z0-9\-._~%!$&'()*+,;:@=]"
"""One letter of a segment of a path. Source: RFC 3986, section 3.3; Envoy's templates."""
_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")
"""Letters that have one spelling after normalisation. Source: RFC 3986, section 2.3."""
_ESCAPE: Final = re.compile(rb"%([0-9a-fA-F]{2})")
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
            asks = [
                made(header=_header(name, text, refuses=refuses)) for name in _named_so(question.name, refuses=refuses)
            ]
            if refuses:
                return asks[0] if len(asks) == 1 else made(or_rules=rbac.Permission.Set(rules=asks))
            others = [made(not_rule=made(header=_is_there(name))) for name in twins(question.name)]
            return all_permissions([*asks, *others])
        case Attribute.PATH:
            return made(url_path=matcher.PathMatcher(path=_path(text, refuses=refuses)))
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
    match question.attribute:
        case Attribute.PRINCIPAL:
            return identity(_identity(text))
        case Attribute.NAMESPACE:
            return identity(_namespace(text, asked.domain, refuses=refuses))
        case Attribute.SERVICE_ACCOUNT:
            return identity(_account(text, asked.domain, refuses=refuses))
        case Attribute.TRUST_DOMAIN:
            return identity(_regex(f"{SPIFFE}{_part(text, '[^/]')}/.+"))
        case Attribute.IP_BLOCK:
            return rbac.Principal(direct_remote_ip=_block(text.value))
        case Attribute.REMOTE_IP_BLOCK:
            return _original(_block(text.value), edge=asked.edge)
        case Attribute.HEADER:
            asks = [
                rbac.Principal(header=_header(name, text, refuses=refuses))
                for name in _named_so(question.name, refuses=refuses)
            ]
            if refuses:
                return any_principal(asks)
            others = [rbac.Principal(not_id=rbac.Principal(header=_is_there(name))) for name in twins(question.name)]
            return all_principals([*asks, *others])
        case Attribute.REQUEST_PRINCIPAL:
            return any_principal(list(_subjects(text, asked.issuers, refuses=refuses)))
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
            return _template(text.value, refuses=True)
        case TextKind.REGEX:
            return f"(?:{text.value})"


def _escaped(text: str) -> str:
    return str(re2.escape(text))


def _regex(pattern: str) -> matcher.StringMatcher:
    return matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=pattern))


def _template(value: str, *, refuses: bool) -> str:
    """``{*}`` is one segment, ``{**}`` any number. Not Envoy's own templates: letters that they do not know pass them by. So they
    count where a match refuses, and where it allows they do not.
    """
    one, several = ("[^/]+", f"{_ANY}*") if refuses else (f"{_PCHAR}+", f"(?:{_PCHAR}|/)*")
    made = _spelled if refuses else _escaped
    return one.join(several.join(made(piece) for piece in part.split("{**}")) for part in value.split("{*}"))


def _path(text: Text, *, refuses: bool) -> matcher.StringMatcher:
    """The path without its query, after normalisation. Envoy leaves escapes of most letters as they were written, and
    applications read them: where a match refuses, every spelling of the same path counts.
    """
    if text.kind is TextKind.TEMPLATE:
        return _regex(_template(text.value, refuses=refuses))
    if not refuses or text.kind in (TextKind.PRESENT, TextKind.REGEX) or set(text.value) <= _PLAIN:
        return string(text)
    before, after = text.kind is TextKind.SUFFIX, text.kind is TextKind.PREFIX
    return _regex(f"{_ANY}*" * before + _spelled(text.value) + f"{_ANY}*" * after)


def _spelled(value: str) -> str:
    """A regular expression of every spelling of a part of a path: each letter as itself or escaped, unless Envoy settles which.
    Source: RFC 3986, section 2.1: the digits of an escape have no case.
    """
    made, rest = [], value.encode()
    while rest:
        found = _ESCAPE.match(rest)
        byte = int(found[1], 16) if found else rest[0]
        rest = rest[3:] if found else rest[1:]
        letter = "/" if chr(byte) == "\\" else chr(byte)
        if letter in _PLAIN:
            made.append(_escaped(letter))
            continue
        itself = byte < 0x80 and not (found and letter == "%")
        made.append(f"(?:(?i:%{byte:02x})|{_escaped(letter)})" if itself else f"(?i:%{byte:02x})")
    return "".join(made)


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


def _named_so(name: str, *, refuses: bool) -> tuple[str, ...]:
    """The names under which a header is looked for: where a match refuses, what an application may take for it, too. Where a
    match allows, nothing of that may be there.
    """
    return (name, *twins(name)) if refuses else (name,)


def _is_there(name: str) -> route.HeaderMatcher:
    return route.HeaderMatcher(name=name, present_match=True)


def _header(name: str, text: Text, *, refuses: bool) -> route.HeaderMatcher:
    """Envoy joins a header that came several times by commas (the bootstrap sees to that): what it allows must be all of it, and
    where a match refuses, each of its values counts. One that is there and empty is there where that refuses.
    """
    if not refuses:
        return _named(name, string(text))
    if text.kind is TextKind.PRESENT:
        return _is_there(name)
    return _named(name, _regex(f"(?:{_ANY}*,)?[ \\t]*{_part(text, _ANY)}[ \\t]*(?:,{_ANY}*)?"))


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


def _namespace(text: Text, domain: str, *, refuses: bool) -> matcher.StringMatcher:
    """The namespace in an identity of our own form. Where it refuses, any identity that names it. Source: Istio."""
    if refuses:
        return _regex(f"{SPIFFE}[^/]+/(?:{_ANY}*/)?ns/{_part(text, '[^/]')}/{_ANY}*")
    return _regex(f"{SPIFFE}{_escaped(domain)}/ns/{_part(text, '[^/]')}/sa/[^/]+")


def _account(text: Text, domain: str, *, refuses: bool) -> matcher.StringMatcher:
    """``namespace/name`` of a service account, likewise."""
    written, _, account = text.value.partition("/")
    namespace, name = _escaped(written), _escaped(account)
    if refuses:
        return _regex(f"{SPIFFE}[^/]+/(?:{_ANY}*/)?ns/{namespace}/(?:{_ANY}*/)?sa/{name}(?:/{_ANY}*)?")
    return _regex(f"{SPIFFE}{_escaped(domain)}/ns/{namespace}/sa/{name}")


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


def _subjects(text: Text, issuers: tuple[TokenIssuer, ...], *, refuses: bool) -> Iterable[rbac.Principal]:
    """``issuer/subject``. Which issuers there are is known, so that what is left to ask is the subject of each.

    ``https://a/b/c`` is subject ``c`` of one issuer and ``b/c`` of another. Where a match allows, the issuer ends at the last
    slash of the rule's value, so that nobody becomes another issuer's by choosing a subject. Source: Istio.
    """
    for index, each in enumerate(issuers):
        for match in _subject(text, f"{each.issuer}/") if refuses else _subject_after_slash(text, each.issuer):
            value = matcher.ValueMatcher(string_match=match)
            yield _metadata((payload(index), "sub"), value)


def _subject_after_slash(text: Text, issuer: str) -> Iterable[matcher.StringMatcher]:
    some = _regex(f"{_ANY}+")
    before, slash, after = text.value.rpartition("/")
    match text.kind:
        case TextKind.PRESENT:
            yield some
        case TextKind.EXACT if slash and after and issuer == before:
            yield matcher.StringMatcher(exact=after)
        case TextKind.PREFIX if slash and issuer == before:
            yield matcher.StringMatcher(prefix=after) if after else some
        case TextKind.PREFIX if not slash and issuer.startswith(after):
            yield some
        case TextKind.SUFFIX if slash and after and issuer.endswith(before):
            yield matcher.StringMatcher(exact=after)
        case TextKind.SUFFIX if not slash and after:
            yield matcher.StringMatcher(suffix=after)


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
