"""JWT: who vouches for a request. A request without a token passes, and rules may ask for one; a bad token never does.

Source: Istio, RequestAuthentication reference; RFC 7519, RFC 8725. Stricter than both in two things: a token must expire, and of
tokens in several places each must be valid, where Istio leaves open what happens. Headers that are made from claims are taken
from us alone: what a client sends under their names is removed. The keys stand inline; Envoy fetches nothing.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from weft.envoy import api, matches, questions
from weft.envoy.protos.envoy.config.common.mutation_rules import v3 as mutation
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.extensions.filters.http.header_mutation import v3 as header_mutation
from weft.envoy.protos.envoy.extensions.filters.http.jwt_authn import v3 as jwt
from weft.envoy.protos.google import protobuf as wkt
from weft.envoy.twins import twins
from weft.model.trust import TokenPlace

if TYPE_CHECKING:
    from weft.model.trust import Guard, TokenIssuer

NAME: Final = "envoy.filters.http.jwt_authn"
TWINS: Final = "envoy.filters.http.header_mutation"
CLOCK_SKEW_SECONDS: Final = 60
SPACED: Final = ("scope", "permission")
"""Claims whose text is a list of words. Source: Istio, RequestAuthentication; RFC 8693 section 4.2."""
USUAL: Final = (TokenPlace(header="authorization", prefix="Bearer "), TokenPlace(parameter="access_token"))
"""Where a token is looked for when an issuer names no place. Source: RFC 6750."""
NOBODYS_KEY: Final = MappingProxyType(
    {
        "kty": "EC",
        "crv": "P-256",
        "kid": "weft-nobody",
        "x": "GbdCDZ2KoO2JbsfkJN8v2xp2LyO5RoaXx2HxAh8DcwY",
        "y": "DFTHq1_tI701_46kAfw9o9BGCR-Gqk053P_cbbxiMiE",
    }
)
"""A public key to which nobody has the private one: its x is the SHA-256 of ``weft: a key that nobody has 0``. Envoy refuses a
key set in which it finds no key, and the guard with it; so every set has this one, and one that could not be fetched no other.
"""


def http(guard: Guard) -> core.TypedExtensionConfig | None:
    """The filter of a guard's issuers; None where no token is looked at."""
    if not guard.issuers:
        return None
    made = jwt.JwtAuthentication(
        providers={str(index): _provider(index, issuer) for index, issuer in enumerate(guard.issuers)},
        rules=[jwt.RequirementRule(match=matches.everything(), requires=_requirement(guard.issuers))],
    )
    return core.TypedExtensionConfig(name=NAME, typed_config=api.pack(made))


def chain(guard: Guard) -> tuple[core.TypedExtensionConfig, ...]:
    """The filter, and one that removes what an application may take for the headers that tokens make: Envoy removes from a
    request those of the very names.
    """
    tokens = http(guard)
    if tokens is None:
        return ()
    made = {name for each in guard.issuers for name in (each.payload_header, *dict(each.claim_headers)) if name}
    mistaken = sorted({twin for name in made for twin in twins(name)} - made)
    if not mistaken:
        return (tokens,)
    removed = header_mutation.Mutations(request_mutations=[mutation.HeaderMutation(remove=name) for name in mistaken])
    packed = api.pack(header_mutation.HeaderMutation(mutations=removed))
    return (tokens, core.TypedExtensionConfig(name=TWINS, typed_config=packed))


def _provider(index: int, issuer: TokenIssuer) -> jwt.JwtProvider:
    places = issuer.places
    return jwt.JwtProvider(
        issuer=issuer.issuer,
        audiences=issuer.audiences,
        local_jwks=core.DataSource(inline_string=_keys(issuer.jwks)),
        require_expiration=True,
        clock_skew_seconds=CLOCK_SKEW_SECONDS,
        forward=issuer.forward,
        from_headers=[jwt.JwtHeader(name=each.header, value_prefix=each.prefix) for each in places if each.header],
        from_params=[each.parameter for each in places if each.parameter],
        from_cookies=[each.cookie for each in places if each.cookie],
        forward_payload_header=issuer.payload_header,
        claim_to_headers=[_claim(header, path) for header, path in issuer.claim_headers],
        payload_in_metadata=questions.payload(index),
        normalize_payload_in_metadata=jwt.JwtProvider.NormalizePayload(
            space_delimited_claims=[*SPACED, *(each for each in issuer.spaced if each not in SPACED)]
        ),
    )


def _keys(jwks: str) -> str:
    found = msgspec.json.decode(jwks)["keys"] if jwks else []
    return msgspec.json.encode({"keys": [*found, dict(NOBODYS_KEY)]}).decode()


def _claim(header: str, path: str) -> jwt.JwtClaimToHeader:
    segments = [jwt.JwtClaimToHeader.PathSegment(key=key) for key in path.split("\0")]
    return jwt.JwtClaimToHeader(header_name=header, claim_path=segments)


def _requirement(issuers: tuple[TokenIssuer, ...]) -> jwt.JwtRequirement:
    """Issuers that look in the same place share it: one of them must know the token there. Every place is looked at."""
    each = [_group(indexes) for indexes in groups(issuers)]
    return each[0] if len(each) == 1 else jwt.JwtRequirement(requires_all=jwt.JwtRequirementAndList(requirements=each))


def _group(indexes: tuple[int, ...]) -> jwt.JwtRequirement:
    known = [jwt.JwtRequirement(provider_name=str(index)) for index in indexes]
    none = jwt.JwtRequirement(allow_missing=wkt.Empty())
    return jwt.JwtRequirement(requires_any=jwt.JwtRequirementOrList(requirements=[*known, none]))


def groups(issuers: tuple[TokenIssuer, ...]) -> tuple[tuple[int, ...], ...]:
    """The numbers of the issuers, those together that have a place in common, by whatever chain of others."""
    found: list[tuple[set[tuple[str, str]], tuple[int, ...]]] = []
    for index, issuer in enumerate(issuers):
        members: tuple[int, ...] = (index,)
        places = {_where(place) for place in issuer.places or USUAL}
        apart: list[tuple[set[tuple[str, str]], tuple[int, ...]]] = []
        for other, indexes in found:
            if other & places:
                places, members = places | other, (*indexes, *members)
            else:
                apart.append((other, indexes))
        found = [*apart, (places, members)]
    return tuple(sorted(tuple(sorted(members)) for _, members in found))


def _where(place: TokenPlace) -> tuple[str, str]:
    if place.header:
        return "header", place.header.lower()
    return ("parameter", place.parameter) if place.parameter else ("cookie", place.cookie)
