"""One RequestAuthentication: whose tokens count, where they are, and where the keys are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.dialects.istio.authorization import NESTED
from weft.dialects.values import Finding
from weft.errors import Severity
from weft.model.trust import TokenIssuer, TokenPlace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.api.istio_security import JwtRule, RequestAuthentication
    from weft.model.trust import KeySet
    from weft.values import Ref


def keys_uri(rule: JwtRule) -> str:
    """Where the keys of an issuer are fetched; empty when the rule has them. Source: OpenID Connect Discovery 1.0, section 4."""
    if rule.jwks is not None:
        return ""
    return rule.jwks_uri or f"{rule.issuer.rstrip('/')}/.well-known/openid-configuration"


def read_tokens(
    ref: Ref, written: RequestAuthentication, keys: Mapping[str, KeySet]
) -> tuple[tuple[TokenIssuer, ...], tuple[Finding, ...]]:
    """The issuers, each with the keys that are known, and a warning for each whose keys could not be had."""
    issuers = []
    findings = []
    for index, rule in enumerate(written.spec.jwt_rules):
        uri = keys_uri(rule)
        found = keys.get(uri) if uri else None
        if found is not None and found.problem:
            findings.append(_no_keys(ref, index, found))
        issuers.append(
            TokenIssuer(
                source=f"{ref.path}/jwtRules/{index}",
                issuer=rule.issuer,
                audiences=rule.audiences,
                jwks=rule.jwks or (found.jwks if found else ""),
                jwks_uri=uri,
                places=_places(rule),
                spaced=tuple(sorted(set(rule.space_delimited_claims))),
                forward=rule.forward_original_token,
                payload_header=(rule.output_payload_to_header or "").lower(),
                claim_headers=tuple(
                    sorted(
                        (each.header.lower(), each.claim.replace(".", NESTED)) for each in rule.output_claim_to_headers
                    )
                ),
            )
        )
    return tuple(issuers), tuple(findings)


def _places(rule: JwtRule) -> tuple[TokenPlace, ...]:
    return (
        *(TokenPlace(header=each.name.lower(), prefix=each.prefix) for each in rule.from_headers),
        *(TokenPlace(parameter=name) for name in rule.from_params),
        *(TokenPlace(cookie=name) for name in rule.from_cookies),
    )


def _no_keys(ref: Ref, index: int, found: KeySet) -> Finding:
    kept = "the keys that were there hold" if found.jwks else "every token of this issuer is refused"
    return Finding(
        code="WFT-1235",
        ref=ref,
        field=f"spec.jwtRules[{index}]",
        message=f"the keys at {found.uri} could not be had, so {kept}: {found.problem}",
        remedy="Correct jwksUri, write the keys as jwks, or open the address in spec.security.jwks.allow of a Mesh",
        severity=Severity.WARNING,
    )
