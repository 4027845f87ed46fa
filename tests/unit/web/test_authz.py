from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.support.apis import Api, api
from tests.support.compiled import compiled, edge, gateway
from tests.support.guarded import CART, PAY, POLICY, SOURCE, mesh, policy
from weft.model.trust import (
    Action,
    Attribute,
    AuthPolicy,
    AuthRule,
    Guard,
    Provider,
    Question,
    Text,
    TextKind,
    TlsMode,
    TokenIssuer,
)

if TYPE_CHECKING:
    from pathlib import Path

DENY = Guard(policies=(policy(Action.DENY, CART),))
BOTH = (("pay-v1-0", DENY), ("pay-v1-1", DENY))


async def can(found: Api, caller: str, callee: str, code: int = 200, **asked: Any) -> Any:  # noqa: ANN401 - JSON
    answer = await found.client.post("/weft/v1/can", json={"caller": caller, "callee": callee, **asked})
    assert answer.status_code == code, answer.text
    return answer.json()


async def test_a_denied_call_names_the_rule_and_the_line_at_which_it_stands(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        found.engine.compiled_mesh = mesh(*BOTH)
        manifests = {"manifests": [{"source": "shop/pay.yaml", "text": POLICY}]}
        await found.client.post(
            "/weft/v1/apply?owner=cli", json=manifests, headers={"content-type": "application/vnd.weft.manifests+json"}
        )
        answer = await can(found, "cart", "pay", method="POST", path="/x")
        assert (answer["verdict"], answer["source"]) == ("denied", f"{SOURCE}/rules/0")
        assert answer["place"] == "shop/pay.yaml:7:5"
        assert answer["callee"]["mode"] == "PERMISSIVE"
        assert answer["caller"]["identities"] == [CART]
        assert not answer["differs"]
        assert (await can(found, "pay", "cart:80"))["verdict"] == "allowed"


async def test_who_has_no_identity_is_asked_for_as_nobody(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        strict = Guard(mode=TlsMode.STRICT)
        found.engine.compiled_mesh = mesh(("cart-v1-0", strict))
        assert (await can(found, "", "cart"))["verdict"] == "denied"
        assert (await can(found, "plain", "cart"))["verdict"] == "denied"
        assert (await can(found, "spiffe://local/ns/default/sa/ghost", "cart"))["verdict"] == "allowed"


async def test_who_is_banned_can_neither_call_nor_be_called(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        found.engine.compiled_mesh = mesh(banned=(PAY,))
        assert "is banned" in (await can(found, "pay", "cart"))["reason"]
        answer = await can(found, "cart", "pay")
        assert (answer["verdict"], answer["steps"][0]["stage"]) == ("denied", "ban")
        assert "the callee is banned" in answer["reason"]
        assert (await can(found, "", "pay"))["verdict"] == "allowed"
        clear = Guard(mode=TlsMode.DISABLE)
        found.engine.compiled_mesh = mesh(("pay-v1-0", clear), ("pay-v1-1", clear), banned=(PAY,))
        assert (await can(found, "cart", "pay"))["verdict"] == "allowed"


async def test_what_has_no_proxy_is_open_to_everybody(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        found.engine.compiled_mesh = mesh()
        answer = await can(found, "cart", "plain")
        assert (answer["verdict"], answer["callee"]["mode"]) == ("allowed", "")
        assert "no proxy" in answer["reason"]


async def test_instances_that_differ_give_the_worst_answer_and_say_so(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        found.engine.compiled_mesh = mesh(("pay-v1-1", DENY))
        answer = await can(found, "cart", "pay")
        assert (answer["verdict"], answer["differs"]) == ("denied", True)
        assert (await can(found, "cart", "pay-v1-0"))["verdict"] == "allowed"


async def test_an_authorizer_that_nobody_asked_leaves_it_open(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        asks = policy(Action.CUSTOM, CART)
        asks = type(asks)(asks.source, asks.action, asks.rules, False, Provider(name="opa", cluster="c", grpc=True))
        found.engine.compiled_mesh = mesh(("cart-v1-0", Guard(policies=(asks,))))
        answer = await can(found, "cart", "cart")
        assert (answer["verdict"], answer["reason"]) == ("unknown", "authorizer opa decides")


async def test_tokens_are_checked_as_the_proxy_would(tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256", {"kid": "a"})
    import json  # noqa: PLC0415 - only here

    jwks = json.dumps({"keys": [key.as_dict(private=False)]})
    issuer = TokenIssuer(source="RequestAuthentication/default/jwt/jwtRules/0", issuer="https://i", jwks=jwks)
    guard = Guard(issuers=(issuer,))
    claims = {"iss": "https://i", "sub": "ann", "exp": int(time.time()) + 10**9}
    async with api(tmp_path) as found:
        found.engine.compiled_mesh = mesh(("cart-v1-0", guard))
        good = jwt.encode({"alg": "ES256", "kid": "a"}, claims, key)
        assert (await can(found, "pay", "cart", jwt=good))["verdict"] == "allowed"
        bad = await can(found, "pay", "cart", jwt=good[:-8] + "AAAAAAAA")
        assert (bad["verdict"], bad["source"]) == ("denied", issuer.source)
        assert (await can(found, "pay", "cart", claims={"sub": "ann"}))["verdict"] == "allowed"
        assert (await can(found, "pay", "cart"))["verdict"] == "allowed"
        assert (await can(found, "pay", "pay", jwt="nonsense"))["verdict"] == "allowed"


async def test_claims_that_are_lists_of_words_are_so_however_they_are_given(tmp_path: Path) -> None:
    issuer = TokenIssuer(source="RequestAuthentication/default/jwt/jwtRules/0", issuer="https://i", spaced=("roles",))
    question = Question(Attribute.CLAIM, (Text(TextKind.EXACT, "ops"),), name="roles")
    rule = AuthRule("AuthorizationPolicy/default/ops/rules/0", conditions=(question,))
    guard = Guard(policies=(AuthPolicy("AuthorizationPolicy/default/ops", Action.ALLOW, (rule,)),), issuers=(issuer,))
    async with api(tmp_path) as found:
        found.engine.compiled_mesh = mesh(("cart-v1-0", guard))
        assert (await can(found, "pay", "cart", claims={"roles": "dev ops"}))["verdict"] == "allowed"
        assert (await can(found, "pay", "cart", claims={"iss": "https://x", "roles": "dev ops"}))["verdict"] == "denied"


async def test_a_name_or_a_port_that_is_not_there_is_said_with_what_is_near(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await can(found, "cart", "pay", 503)
        found.engine.compiled_mesh = mesh()
        answer = await can(found, "carts", "pay", 404)
        assert answer["details"]["problems"][0]["code"] == "WFT-1883"
        assert "cart" in answer["details"]["problems"][0]["remedy"]
        answer = await can(found, "nobody", "nothing:80", 404)
        assert ["'nobody'" in answer["message"], "'nothing'" in answer["message"]] == [True, True]
        assert len(answer["details"]["problems"]) == 2
        answer = await can(found, "cart", "pay:81", 400)
        assert answer["details"]["problems"][0]["remedy"] == "Name one of 8080, as in NAME:8080"
        answer = await can(found, "cart", "spiffe://local/ns/x/sa/y", 400)
        assert "no workload runs" in answer["message"]
        await can(found, "cart", "pay", 400, methods="GET")
        assert (await can(found, "cart.default", "default/pay", port=8080))["verdict"] == "allowed"


async def test_everything_that_guards_a_workload_is_listed_in_order(tmp_path: Path) -> None:
    issuer = TokenIssuer(source="RequestAuthentication/default/jwt/jwtRules/0", issuer="https://i")
    guard = Guard(
        mode=TlsMode.STRICT,
        mode_source="PeerAuthentication/default/strict",
        policies=(policy(Action.ALLOW, CART), policy(Action.DENY, CART, dry_run=True)),
        issuers=(issuer,),
        default_deny=True,
    )
    async with api(tmp_path) as found:
        found.engine.compiled_mesh = mesh(("pay-v1-0", guard), ("pay-v1-1", guard))
        answer = (await found.client.get("/weft/v1/authz/default/pay")).json()
        (item,) = answer["items"]
        assert [(each["action"], each["dryRun"]) for each in item["policies"]] == [("DENY", True), ("ALLOW", False)]
        assert (item["port"], item["mode"], item["issuers"][0]["keys"]) == (8080, "STRICT", False)
        assert answer["default"] == "deny"
        assert (await found.client.get("/weft/v1/authz/default/nothing")).status_code == 404
        plain = (await found.client.get("/weft/v1/authz/default/plain")).json()
        assert (plain["items"], plain["proxies"]) == ([], [])


async def test_the_address_of_a_client_counts_at_a_gateway_and_as_it_is_forwarded_behind_one(tmp_path: Path) -> None:
    def denies(attribute: Attribute) -> Guard:
        block = Question(attribute, (Text(TextKind.EXACT, "203.0.113.0/24"),))
        rule = AuthRule(f"{SOURCE}/rules/0", ((block,),))
        return Guard(policies=(AuthPolicy(SOURCE, Action.DENY, (rule,)),))

    made = compiled(gateway("front", "[{name: http, port: 80, protocol: HTTP}]"), workloads=(edge("front", 80),)).mesh
    async with api(tmp_path) as found:
        for attribute in (Attribute.IP_BLOCK, Attribute.REMOTE_IP_BLOCK):
            guards = MappingProxyType({("default", "front"): denies(attribute)})
            found.engine.compiled_mesh = msgspec.structs.replace(made, gateway_guards=guards)
            assert (await can(found, "", "front", ip="203.0.113.7"))["verdict"] == "denied"
            assert (await can(found, "", "front", ip="198.51.100.7"))["verdict"] == "allowed"
            assert (await can(found, "", "front"))["verdict"] == "allowed"
        found.engine.compiled_mesh = mesh(("pay-v1-0", denies(Attribute.IP_BLOCK)))
        assert (await can(found, "cart", "pay", ip="203.0.113.7"))["verdict"] == "allowed"
        found.engine.compiled_mesh = mesh(("pay-v1-0", denies(Attribute.REMOTE_IP_BLOCK)))
        assert (await can(found, "cart", "pay", ip="203.0.113.7"))["verdict"] == "denied"
        assert (await can(found, "", "pay", ip="203.0.113.7"))["verdict"] == "allowed"
        await can(found, "", "pay", 400, ip="somewhere")


async def test_a_gateway_is_guarded_as_a_whole(tmp_path: Path) -> None:
    made = compiled(gateway("front", "[{name: http, port: 80, protocol: HTTP}]"), workloads=(edge("front", 80),)).mesh
    async with api(tmp_path) as found:
        found.engine.compiled_mesh = msgspec.structs.replace(made, gateway_guards={})
        assert (await can(found, "", "front:80"))["verdict"] == "allowed"
        guards = MappingProxyType({("default", "front"): Guard(policies=(policy(Action.ALLOW, CART),))})
        found.engine.compiled_mesh = msgspec.structs.replace(made, gateway_guards=guards)
        answer = await can(found, "", "front")
        assert (answer["verdict"], answer["callee"]["port"]) == ("denied", 80)
        listed = (await found.client.get("/weft/v1/authz/default/front")).json()
        assert [item["port"] for item in listed["items"]] == [0]
        assert (await can(found, "front", "front"))["caller"]["identities"] == [
            "spiffe://local/ns/default/sa/front-weft"
        ]
