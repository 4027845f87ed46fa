"""Whether one question of a rule is true of a call.

Written from the documentation of Istio's AuthorizationPolicy and from what docs/guides/policy.md says of doubtful spellings,
with plain operations on text and without anything of ``weft.envoy``: tests compare the two.

A call can often be read in two ways: a header that came twice, a Host with a user before it. Then the doubtful call is
refused: a question is answered *widely* where its truth leads to a refusal, *narrowly* where it leads to a permission.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

import re2

from weft.explain.call import Call, Claims, normal_path
from weft.explain.edited import plainly
from weft.model.trust import Attribute, Question, Text, TextKind

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEME: Final = "spiffe://"
_PATH_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;:@=/")
"""Source: RFC 3986, section 3.3."""
SPACED: Final = (("scope",), ("permission",))
"""Claims whose text is a list of words. Source: Istio, RequestAuthentication; RFC 8693 section 4.2."""


def holds(question: Question, call: Call, domain: str, *, refuses: bool) -> bool:
    """One of ``any_of`` (when there are some) and none of ``none_of``. ``domain`` is our own trust domain; ``refuses``: a
    match of the rule leads to a refusal.
    """
    if question.any_of and not any(_is(question, text, call, domain, wide=refuses) for text in question.any_of):
        return False
    return not any(_is(question, text, call, domain, wide=not refuses) for text in question.none_of)


def _is(question: Question, text: Text, call: Call, domain: str, *, wide: bool) -> bool:
    match question.attribute:
        case Attribute.PRINCIPAL:
            return _principal(text, call.caller)
        case Attribute.NAMESPACE:
            return any(matches(text, each, inside="/") for each in _namespaces(call.caller, domain, wide=wide))
        case Attribute.SERVICE_ACCOUNT:
            return text.value in _accounts(call.caller, domain, wide=wide)
        case Attribute.TRUST_DOMAIN:
            own, _, rest = call.caller.removeprefix(SCHEME).partition("/")
            return call.caller.startswith(SCHEME) and bool(own and rest) and matches(text, own)
        case Attribute.IP_BLOCK:
            return _inside(call.source_ip, text.value)
        case Attribute.REMOTE_IP_BLOCK:
            return _inside(call.remote_ip or call.source_ip, text.value)
        case Attribute.DESTINATION_IP:
            return _inside(call.destination_ip, text.value)
        case Attribute.PORT:
            return text.value == str(call.port)
        case Attribute.SNI:
            return matches(text, call.sni)
        case Attribute.METHOD:
            return matches(text, call.method)
        case Attribute.PATH:
            return _path(text, normal_path(call.path), wide=wide)
        case Attribute.HOST:
            return _host_at_edge(text, call, wide=wide) if call.edge else _host(text, call.host, wide=wide)
        case Attribute.HEADER:
            return _named_header(text, question.name, call, wide=wide)
        case _:
            return _token(question, text, call.tokens, wide=wide)


def matches(text: Text, value: str, *, inside: str = "") -> bool:
    """Whether a value is what a text says. ``inside``: a letter that no star stands for."""
    match text.kind:
        case TextKind.EXACT:
            return value == text.value
        case TextKind.PREFIX:
            return value.startswith(text.value) and _free(value[len(text.value) :], inside)
        case TextKind.SUFFIX:
            return value.endswith(text.value) and _free(value[: len(value) - len(text.value)], inside)
        case TextKind.PRESENT:
            return bool(value) and _free(value, inside)
        case TextKind.REGEX:
            return bool(re2.fullmatch(text.value, value))
        case _:
            return template(text.value, value)


def _free(value: str, letter: str) -> bool:
    return not letter or letter not in value


def template(pattern: str, path: str) -> bool:
    """``{*}`` stands for one or more letters without a slash, ``{**}`` for any letters."""
    at = {0}
    for index, part in enumerate(pattern.split("{**}")):
        if index:
            first = min(at, default=len(path) + 1)
            at = set(range(first, len(path) + 1))
        for number, piece in enumerate(part.split("{*}")):
            if number:
                at = {end for begin in at for end in _segment(path, begin)}
            at = {begin + len(piece) for begin in at if path.startswith(piece, begin)}
    return len(path) in at


def _segment(path: str, begin: int) -> range:
    """Where a segment that begins there may end."""
    slash = path.find("/", begin)
    return range(begin + 1, (len(path) if slash < 0 else slash) + 1)


def _principal(text: Text, caller: str) -> bool:
    """``domain/ns/a/sa/b``, with or without the scheme."""
    if not caller.startswith(SCHEME):
        return False
    if text.kind is TextKind.SUFFIX and text.value:
        return caller.endswith(text.value)
    if text.kind in (TextKind.EXACT, TextKind.PREFIX):
        bare = text.value.removeprefix(SCHEME)
        named = caller.removeprefix(SCHEME)
        return named == bare if text.kind is TextKind.EXACT else named.startswith(bare)
    domain, _, rest = caller.removeprefix(SCHEME).partition("/")
    return bool(domain and rest)


def _path(text: Text, path: str, *, wide: bool) -> bool:
    """Widely, in any spelling; where a template allows, of letters of paths alone."""
    if not wide:
        return matches(text, path) and (text.kind is not TextKind.TEMPLATE or set(path) <= _PATH_LETTERS)
    if text.kind is TextKind.REGEX:
        return matches(text, path)
    return matches(text, path) or matches(Text(text.kind, _read(text.value)), _read(path))


def _read(path: str) -> str:
    """A path as an application reads it."""
    return unquote_to_bytes(path).decode("latin-1").replace("\\", "/")


def _own(caller: str, domain: str) -> tuple[str, str] | None:
    """(namespace, service account) of an identity of our own form and trust domain."""
    parts = caller.removeprefix(SCHEME).split("/")
    if not caller.startswith(SCHEME) or len(parts) != 5 or not parts[4]:
        return None
    return (parts[2], parts[4]) if (parts[0], parts[1], parts[3]) == (domain, "ns", "sa") else None


def _namespaces(caller: str, domain: str, *, wide: bool) -> list[str]:
    """The namespaces that an identity names; widely, of any trust domain and wherever they stand, as in Istio."""
    if not wide:
        own = _own(caller, domain)
        return [own[0]] if own else []
    return [name for name, _ in _named_namespaces(caller)]


def _named_namespaces(caller: str) -> list[tuple[str, list[str]]]:
    """Each namespace that an identity names, with the parts behind it."""
    parts = caller.removeprefix(SCHEME).split("/")
    if not caller.startswith(SCHEME) or not parts[0]:
        return []
    places = [index for index, part in enumerate(parts) if part == "ns" and index and index + 2 < len(parts)]
    return [(parts[index + 1], parts[index + 2 :]) for index in places]


def _accounts(caller: str, domain: str, *, wide: bool) -> list[str]:
    """The service accounts that an identity names, as ``namespace/name``, likewise."""
    if not wide:
        own = _own(caller, domain)
        return ["/".join(own)] if own else []
    return [
        f"{namespace}/{rest[index + 1]}"
        for namespace, rest in _named_namespaces(caller)
        for index in range(len(rest) - 1)
        if rest[index] == "sa"
    ]


def _inside(address: str, block: str) -> bool:
    """No address (a unix socket) is in no block."""
    if not address:
        return False
    return ipaddress.ip_address(address) in ipaddress.ip_network(block, strict=False)


def _host_at_edge(text: Text, call: Call, *, wide: bool) -> bool:
    """Nobody sees the port that a caller wrote into its Host: the listener's is the one that a rule means."""
    port = str(call.port)
    before, separator, number = text.value.rpartition(":")
    brackets = before.count("[") - before.count("]")
    said = number.isdigit() or (text.kind is TextKind.PREFIX and not number)
    if not separator or brackets or not said:
        return _host(text, call.host, wide=wide)
    if text.kind is TextKind.PREFIX:
        return port.startswith(number) and _host(Text(TextKind.EXACT, before), call.host, wide=wide)
    left = Text(text.kind, before) if before else Text(TextKind.PRESENT)
    return number == port and _host(left, call.host, wide=wide)


def _host(text: Text, host: str, *, wide: bool) -> bool:
    """In any case; with or without a port and a dot at its end, unless the rule names a port."""
    value, said = text.value.lower(), host.lower()
    name, _, number = value.rpartition(":")
    candidates = [said]
    if wide:
        candidates += [said[index + 1 :] for index, letter in enumerate(said) if letter == "@"]
    if text.kind is TextKind.PREFIX:
        return any(each.startswith(value) for each in candidates)
    named_port = bool(name) and number.isdigit() and text.kind in (TextKind.EXACT, TextKind.SUFFIX)
    wanted = Text(text.kind, name) if named_port else Text(text.kind, value)
    return any(
        matches(wanted, each) for said in candidates for each in _names(said, number if named_port else "", wide)
    )


def _names(host: str, port: str, wide: bool) -> Iterable[str]:
    """What may be the name in a host, when its port has to be ``port`` (empty: any, or none)."""
    if port:
        bare = [host[: -len(port) - 1]] if host.endswith(f":{port}") else []
    else:
        bare = [host]
        for index, letter in enumerate(host):
            rest = host[index + 1 :]
            if letter == ":" and (wide or (rest.isascii() and rest.isdigit())):
                bare.append(host[:index])
    for name in bare:
        yield name
        if name.endswith("."):
            yield name[:-1]


def _named_header(text: Text, wanted: str, call: Call, *, wide: bool) -> bool:
    """``x_role`` is ``x-role`` to many applications: widely it counts as well, narrowly it must not be there."""
    found: dict[str, list[str]] = {}
    for name, value in call.headers:
        if plainly(name) == plainly(wanted):
            found.setdefault(name.lower(), []).append(value)
    if wide:
        return any(_header(text, values, wide=True) for values in found.values())
    return found.keys() <= {wanted} and _header(text, found.get(wanted, []), wide=False)


def _header(text: Text, values: list[str], *, wide: bool) -> bool:
    """Several of a name are one, joined by commas; widely, each of them and each part between commas counts too. Blanks around
    a value are HTTP's and not the value's.
    """
    if not values:
        return False
    joined = ",".join(value.strip(" \t") for value in values)
    if not wide:
        return matches(text, joined)
    if text.kind is TextKind.PRESENT:
        return True
    parts = joined.split(",")
    spans = (",".join(parts[begin:end]) for begin in range(len(parts)) for end in range(begin + 1, len(parts) + 1))
    return any(matches(text, each) for span in spans for each in _trimmed(span))


def _trimmed(value: str) -> tuple[str, ...]:
    return value, value.lstrip(" \t"), value.rstrip(" \t"), value.strip(" \t")


def _token(question: Question, text: Text, tokens: tuple[Claims, ...], *, wide: bool) -> bool:
    """A claim that is a text, or a list with such a text, of any of the tokens."""
    if question.attribute is Attribute.REQUEST_PRINCIPAL:
        return any(_vouched(text, *each, wide=wide) for each in map(_subject, tokens) if each)
    path = {
        Attribute.AUDIENCE: ("aud",),
        Attribute.PRESENTER: ("azp",),
        Attribute.CLAIM: tuple(question.name.split("\0")),
    }[question.attribute]
    found = [value for claims in tokens for value in _texts(claims, path)]
    return any(matches(text, value) for value in found)


def _subject(claims: Claims) -> tuple[str, str] | None:
    issuer, subject = claims.get("iss"), claims.get("sub")
    if not isinstance(issuer, str) or not isinstance(subject, str) or not subject:
        return None
    return issuer, subject


def _vouched(text: Text, issuer: str, subject: str, *, wide: bool) -> bool:
    """``issuer/subject``. Narrowly the issuer ends at the last slash of the rule's value, as in Istio."""
    whole = matches(text, f"{issuer}/{subject}")
    before, slash, after = text.value.rpartition("/")
    if wide or text.kind is TextKind.PRESENT or not whole:
        return whole
    if text.kind is TextKind.PREFIX:
        return issuer == before if slash else issuer.startswith(text.value)
    if slash:
        return subject == after
    return text.kind is TextKind.SUFFIX and subject.endswith(text.value)


def _texts(claims: Claims, path: tuple[str, ...]) -> list[str]:
    value: Any = claims
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if path in SPACED and isinstance(value, str):
        value = value.split(" ")
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str)]
