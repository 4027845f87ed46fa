"""E23-24: tokens that are wrong in one thing each, and keys that are away, changed or hostile. Only valid tokens count."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.envoy.policy_rig import Guarded, guarded
from tests.envoy.tokens import Issuer, ec, part, rsa
from weft.model.trust import (
    Action,
    Attribute,
    AuthPolicy,
    AuthRule,
    Guard,
    Question,
    Text,
    TextKind,
    TokenIssuer,
    TokenPlace,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return rsa("https://issuer.example")


def rule(*sources: Question) -> AuthPolicy:
    source = "AuthorizationPolicy/default/tokens"
    rules = (AuthRule(source=f"{source}/rules/0", sources=(sources,)),)
    return AuthPolicy(source=source, action=Action.ALLOW, rules=rules)


ANYBODY = rule(Question(Attribute.REQUEST_PRINCIPAL, (Text(TextKind.PRESENT),)))


def of(issuer: Issuer, **changes: object) -> TokenIssuer:
    fields = {"source": "RequestAuthentication/default/a/rules/0", "issuer": issuer.name, "audiences": ("shop",)}
    return TokenIssuer(**{**fields, "jwks": issuer.jwks, **changes})  # type: ignore[arg-type] # fields of TokenIssuer


def bearer(*tokens: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {token}") for token in tokens]


def mac(issuer: Issuer, key: bytes, algorithm: str = "HS256") -> str:
    """A token signed with a public thing as if it were a secret."""
    signed = f"{part({'alg': algorithm, 'kid': issuer.kid, 'typ': 'JWT'})}.{part(issuer.claims())}"
    return f"{signed}.{part(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


def corpus(issuer: Issuer) -> dict[str, str]:
    now = int(time.time())
    head, body, signature = issuer.token().split(".")
    stranger = rsa(issuer.name, issuer.kid)
    public = issuer.key.as_pem(private=False)
    embedded = {"alg": "RS256", "kid": issuer.kid, "jwk": stranger.key.as_dict(private=False)}
    return {
        "alg none": f"{part({'alg': 'none'})}.{part(issuer.claims())}.",
        "alg None with kid": f"{part({'alg': 'None', 'kid': issuer.kid})}.{part(issuer.claims())}.",
        "no signature": f"{head}.{body}.",
        "HS256 with the public key as PEM": mac(issuer, public),
        "HS256 with the key set": mac(issuer, issuer.jwks.encode()),
        "HS256 with nothing": mac(issuer, b""),
        "RS256 said, HMAC done": mac(issuer, public, "RS256"),
        "signed by somebody else": stranger.token(),
        "signed by somebody else under another kid": rsa(issuer.name, "other").token(),
        "the right kid does not exist": issuer.token(header={"kid": "other"}),
        "kid that is a path": issuer.token(header={"kid": "../../../../dev/null"}),
        "a key of its own inside": stranger.token(header=embedded),
        "jku": stranger.token(header={"jku": "http://127.0.0.1/keys"}),
        "expired": issuer.token(exp=now - 3600),
        "expired beyond the skew": issuer.token(exp=now - 120),
        "not yet": issuer.token(nbf=now + 3600),
        "without exp": issuer.token(exp=None),
        "exp that is a text": issuer.token(exp="never"),
        "exp that is negative": issuer.token(exp=-1),
        "exp 0": issuer.token(exp=0),
        "another issuer": issuer.token(iss="https://other.example"),
        "no issuer": issuer.token(iss=None),
        "issuer with a slash more": issuer.token(iss=f"{issuer.name}/"),
        "another audience": issuer.token(aud="bank"),
        "other audiences": issuer.token(aud=["bank", "shopping"]),
        "no audience": issuer.token(aud=None),
        "a changed claim": f"{head}.{part(issuer.claims(sub='root'))}.{signature}",
        "a changed header": f"{part({'alg': 'RS512', 'kid': issuer.kid})}.{body}.{signature}",
        "a nested token": f"{part({'alg': 'RS256', 'cty': 'JWT'})}.{part(issuer.token().encode())}.{signature}",
        "two tokens joined": f"{issuer.token()}.{signature}",
        "two parts": f"{head}.{body}",
        "not base64": f"{head}.{body}.!!!!",
        "standard base64": f"{head}.{body}.{base64.b64encode(b'?' * 256).decode()}",
        "a list": f"{part([])}.{part([])}.{signature}",
        "not JSON": f"{part(b'{')}.{part(b'{')}.{signature}",
        "nothing but dots": "..",
        "encrypted": f"{part({'alg': 'RSA-OAEP', 'enc': 'A256GCM'})}.a.b.c.d",
        "text": "letmein",
    }


async def passed(edge: Guarded, tokens: dict[str, str]) -> list[str]:
    """Which of them were not refused: 401, or 403 for whom a token was not made."""
    found = []
    for name, token in tokens.items():
        status = await edge.status("/", headers=bearer(token))
        if status not in (401, 403):
            found.append(f"{name}: {status}")
    return found


async def test_no_bad_token_passes_and_good_ones_do(envoy_binary: Path, issuer: Issuer) -> None:
    async with guarded(envoy_binary, Guard(issuers=(of(issuer),), policies=(ANYBODY,))) as edge:
        assert await passed(edge, corpus(issuer)) == []
        assert edge.seen == []
        assert await edge.status("/", headers=bearer(issuer.token())) == 200
        assert await edge.status("/", headers=bearer(issuer.token(aud=["bank", "shop"]))) == 200
        assert await edge.status("/", headers=bearer(issuer.token(exp=int(time.time()) - 30))) == 200
        assert await edge.status("/") == 403


async def test_a_bad_token_is_refused_even_where_none_is_asked_for(envoy_binary: Path, issuer: Issuer) -> None:
    async with guarded(envoy_binary, Guard(issuers=(of(issuer),))) as edge:
        assert await passed(edge, corpus(issuer)) == []
        assert await edge.status("/") == 200


async def test_a_token_is_bad_wherever_it_is_found(envoy_binary: Path, issuer: Issuer) -> None:
    places = (TokenPlace(header="x-token"), TokenPlace(parameter="t"), TokenPlace(cookie="t"))
    async with guarded(envoy_binary, Guard(issuers=(of(issuer, places=places),), policies=(ANYBODY,))) as edge:
        good, bad = issuer.token(), issuer.token(exp=1)
        for token, status in ((good, 200), (bad, 401)):
            assert await edge.status("/", headers=[("x-token", token)]) == status
            assert await edge.status(f"/?t={token}") == status
            assert await edge.status("/", headers=[("cookie", f"a=b; t={token}")]) == status
        assert await edge.status("/", headers=bearer(good)) == 403
        assert await edge.status(f"/?t={bad}", headers=[("x-token", good)]) in (200, 401)


async def test_several_tokens_at_once_never_make_a_bad_one_good(envoy_binary: Path, issuer: Issuer) -> None:
    other = ec("other")
    second = of(other, places=(TokenPlace(header="x-other"),), audiences=())
    async with guarded(envoy_binary, Guard(issuers=(of(issuer), second), policies=(ANYBODY,))) as edge:
        good, bad = issuer.token(), issuer.token(exp=1)
        assert await edge.status("/", headers=bearer(good, bad)) == 401
        assert await edge.status("/", headers=bearer(bad, good)) == 401
        assert await edge.status(f"/?access_token={bad}") == 401
        assert await edge.status("/", headers=[*bearer(good), ("x-other", "bad")]) == 401
        assert await edge.status("/", headers=[*bearer(bad), ("x-other", other.token())]) == 401
        assert await edge.status("/", headers=[*bearer(good), ("x-other", other.token())]) == 200
        assert await edge.status("/", headers=bearer(other.token())) == 401
        assert await edge.status("/", headers=[("x-other", issuer.token())]) == 401


async def test_one_issuer_cannot_speak_for_another(envoy_binary: Path, issuer: Issuer) -> None:
    other = rsa("https://other.example")
    only = rule(Question(Attribute.REQUEST_PRINCIPAL, (Text(TextKind.EXACT, f"{issuer.name}/alice"),)))
    async with guarded(envoy_binary, Guard(issuers=(of(issuer), of(other)), policies=(only,))) as edge:
        forged = Issuer(issuer.name, other.key)
        assert await edge.status("/", headers=bearer(forged.token())) == 401
        assert await edge.status("/", headers=bearer(other.token())) == 403
        assert await edge.status("/", headers=bearer(other.token(iss=issuer.name))) == 401
        assert await edge.status("/", headers=bearer(issuer.token(sub="alice/x"))) == 403
        assert await edge.status("/", headers=bearer(issuer.token())) == 200


async def test_a_huge_token_is_refused(envoy_binary: Path, issuer: Issuer) -> None:
    async with guarded(envoy_binary, Guard(issuers=(of(issuer),), policies=(ANYBODY,))) as edge:
        assert await edge.status("/", headers=bearer(issuer.token(more="a" * 70_000))) in (401, 431)
        deep: object = 1
        for _ in range(900):
            deep = [deep]
        head, _, signature = issuer.token().split(".")
        assert await edge.status("/", headers=bearer(f"{head}.{part(deep)}.{signature}")) == 401
        assert await edge.status("/", headers=bearer(issuer.token())) == 200
        assert edge.seen == ["GET /"]


async def test_headers_made_of_claims_are_ours_alone(envoy_binary: Path, issuer: Issuer) -> None:
    headers = (("x-sub", "sub"), ("x-role", "realm\0role"))
    made = of(issuer, claim_headers=headers, payload_header="x-payload")
    forged = [("x-sub", "root"), ("X-Role", "root"), ("x-payload", part({"sub": "root"})), ("X-SUB", "root")]
    forged += [("x_sub", "root"), ("X_Role", "root"), ("x_payload", part({"sub": "root"}))]
    async with guarded(envoy_binary, Guard(issuers=(made,))) as edge:
        seen = (await edge.ask("/", headers=forged)).seen["headers"]
        assert not {"x-sub", "x-role", "x-payload", "x_sub", "x_role", "x_payload"} & seen.keys()
        token = issuer.token(realm={"role": "clerk"})
        seen = (await edge.ask("/", headers=[*forged, *bearer(token)])).seen["headers"]
        assert (seen["x-sub"], seen["x-role"]) == ("alice", "clerk")
        assert json.loads(base64.urlsafe_b64decode(seen["x-payload"] + "==="))["sub"] == "alice"
        assert "authorization" not in seen
        assert not {"x_sub", "x_role", "x_payload"} & seen.keys()
        seen = (await edge.ask("/", headers=[*forged, *bearer(issuer.token())])).seen["headers"]
        assert "x-role" not in seen
        preflight = [*forged, ("Origin", "https://evil.example"), ("Access-Control-Request-Method", "GET")]
        answer = await edge.ask("/", method="OPTIONS", headers=preflight)
        assert answer.status != 200 or not {"x-sub", "x-role", "x-payload"} & answer.seen["headers"].keys()


async def test_claims_are_matched_as_texts_and_in_lists(envoy_binary: Path, issuer: Issuer) -> None:
    admins = rule(Question(Attribute.CLAIM, (Text(TextKind.EXACT, "admin"),), name="realm\0roles"))
    async with guarded(envoy_binary, Guard(issuers=(of(issuer),), policies=(admins,))) as edge:
        for roles, status in (
            ("admin", 200),
            (["user", "admin"], 200),
            ("administrator", 403),
            (["administrator"], 403),
            ("user admin", 403),
            ({"admin": True}, 403),
            (None, 403),
            (True, 403),
        ):
            token = issuer.token(realm={"roles": roles})
            assert await edge.status("/", headers=bearer(token)) == status, roles
        flat: dict[str, object] = {"realm.roles": "admin"}
        assert await edge.status("/", headers=bearer(issuer.token(header=None, **flat))) == 403


async def test_keys_that_could_not_be_had_refuse_every_token(envoy_binary: Path, issuer: Issuer) -> None:
    async with guarded(envoy_binary, Guard(issuers=(of(issuer, jwks=""),), policies=(ANYBODY,))) as edge:
        assert await passed(edge, {"good": issuer.token(), **corpus(issuer)}) == []
        assert await edge.status("/") == 403
        await edge.guard(Guard(issuers=(of(issuer),), policies=(ANYBODY,)))
        assert await edge.status("/", headers=bearer(issuer.token())) == 200


async def test_changed_keys_hold_for_the_next_request(envoy_binary: Path, issuer: Issuer) -> None:
    fresh = rsa(issuer.name, "k2")
    async with guarded(envoy_binary, Guard(issuers=(of(issuer),), policies=(ANYBODY,))) as edge:
        assert await edge.status("/", headers=bearer(fresh.token())) == 401
        both = json.dumps({"keys": json.loads(issuer.jwks)["keys"] + json.loads(fresh.jwks)["keys"]})
        for keys, old, new in ((both, 200, 200), (fresh.jwks, 401, 200)):
            await edge.guard(Guard(issuers=(of(issuer, jwks=keys),), policies=(ANYBODY,)))
            assert await edge.status("/", headers=bearer(issuer.token())) == old
            assert await edge.status("/", headers=bearer(fresh.token())) == new


HOSTILE = (
    {"kty": "RSA", "n": "!!", "e": "AQAB"},
    {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    {"kty": "RSA", "n": "AQAB", "e": ""},
    {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
    {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
    {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
)


async def test_a_key_set_that_holds_nonsense_refuses_every_token_and_nothing_else(
    envoy_binary: Path, issuer: Issuer
) -> None:
    async with guarded(envoy_binary, Guard(issuers=(of(issuer),))) as edge:
        for key in HOSTILE:
            await edge.guard(Guard(issuers=(of(issuer, jwks=json.dumps({"keys": [{**key, "kid": issuer.kid}]})),)))
            assert await edge.status("/", headers=bearer(issuer.token())) == 401, key
            assert await edge.status("/") == 200
