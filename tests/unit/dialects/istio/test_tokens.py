"""One RequestAuthentication in the model's words."""

from __future__ import annotations

import json

from tests.support.compiled import codes, objects
from tests.support.policies import both, guard, istio
from weft.api.istio_security import RequestAuthentication
from weft.dialects.compile import compile_world
from weft.dialects.istio.tokens import keys_uri, read_tokens
from weft.dialects.values import Compiled, Input
from weft.memo import Memo
from weft.model.service import HostReport
from weft.model.trust import KeySet, TokenPlace

URI = "https://a.example/keys"
ISSUER = "issuer: 'https://a.example'"


def made(rules: str, *keys: KeySet, more: str = "") -> Compiled:
    texts = objects(istio("RequestAuthentication", "tokens", f"{{{more}jwtRules: [{rules}]}}"))
    host = HostReport(host="here", workloads=(both("echo"),))
    return compile_world(Input(texts, (host,), keys=keys), Memo())


def test_a_token_is_described_in_full() -> None:
    found = made(
        f"{{{ISSUER}, audiences: [a], jwksUri: '{URI}', fromHeaders: [{{name: X-A, prefix: 'T '}}], fromParams: [p],"
        " fromCookies: [c], outputPayloadToHeader: X-P, forwardOriginalToken: true,"
        " outputClaimToHeaders: [{header: X-T, claim: org.team}, {header: X-S, claim: sub}],"
        " spaceDelimitedClaims: [roles, groups, roles]}"
    )
    (issuer,) = guard(found, "echo").issuers
    assert (issuer.source, issuer.issuer) == ("RequestAuthentication/default/tokens/jwtRules/0", "https://a.example")
    assert (issuer.audiences, issuer.jwks, issuer.jwks_uri, issuer.forward) == (("a",), "", URI, True)
    assert issuer.places == (TokenPlace(header="x-a", prefix="T "), TokenPlace(parameter="p"), TokenPlace(cookie="c"))
    assert issuer.payload_header == "x-p"
    assert issuer.spaced == ("groups", "roles")
    assert issuer.claim_headers == (("x-s", "sub"), ("x-t", "org\0team"))


def test_keys_are_written_fetched_or_discovered() -> None:
    keys = json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "a"}]})
    found = made(f"{{{ISSUER}, jwks: '{keys}'}}, {{{ISSUER}, jwksUri: '{URI}'}}, {{issuer: 'https://b.example/'}}")
    discovered = "https://b.example/.well-known/openid-configuration"
    assert found.wanted_keys == (URI, discovered)
    assert [each.jwks_uri for each in guard(found, "echo").issuers] == ["", URI, discovered]
    assert guard(found, "echo").issuers[0].jwks == keys
    (text,) = objects(istio("RequestAuthentication", "a", f"{{jwtRules: [{{{ISSUER}}}]}}"))
    assert isinstance(text.object, RequestAuthentication)
    assert keys_uri(text.object.spec.jwt_rules[0]) == "https://a.example/.well-known/openid-configuration"


def test_fetched_keys_come_with_the_next_build() -> None:
    found = made(f"{{{ISSUER}, jwksUri: '{URI}'}}", KeySet(URI, jwks="{}"))
    assert guard(found, "echo").issuers[0].jwks == "{}"
    assert found.problems == ()


def test_keys_that_could_not_be_had_are_a_warning_and_the_old_ones_hold() -> None:
    never = made(f"{{{ISSUER}, jwksUri: '{URI}'}}", KeySet(URI, problem="it does not answer"))
    assert codes(never) == ["WFT-1235"]
    assert "every token of this issuer is refused: it does not answer" in never.problems[0].message
    before = made(f"{{{ISSUER}, jwksUri: '{URI}'}}", KeySet(URI, jwks="{}", problem="it does not answer"))
    assert guard(before, "echo").issuers[0].jwks == "{}"
    assert "the keys that were there hold" in before.problems[0].message


def test_tokens_concern_requests_and_no_connections() -> None:
    found = made(f"{{{ISSUER}}}")
    assert guard(found, "echo").why_http == "RequestAuthentication/default/tokens/jwtRules/0"
    assert guard(found, "echo", 6379).issuers == ()


def test_tokens_that_are_selected_for_nobody_are_fetched_all_the_same() -> None:
    found = made(f"{{{ISSUER}}}", more="selector: {matchLabels: {app: x}}, ")
    assert guard(found, "echo").issuers == ()
    assert found.wanted_keys != ()
    assert codes(found) == ["WFT-1225"]


def test_rules_are_in_the_order_in_which_they_are_written() -> None:
    found = made(", ".join(f"{{issuer: 'https://{number}.example'}}" for number in range(12)))
    assert [each.source.rpartition("/")[2] for each in guard(found, "echo").issuers] == [str(n) for n in range(12)]


def test_nothing_to_read_is_nothing() -> None:
    (text,) = objects(istio("RequestAuthentication", "a"))
    assert isinstance(text.object, RequestAuthentication)
    assert read_tokens(text.document.ref, text.object, {}) == ((), ())
