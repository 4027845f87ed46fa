"""What Istio's policies say about calls at a Gateway: manifests as users write them, requests, and who gets through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.calls.table import calls
from tests.envoy.tokens import rsa
from tests.support.compiled import gateway, route, service

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.envoy

MESH = "".join(
    (
        service("app"),
        service("check"),
        gateway("edge", "[{name: http, port: 80, protocol: HTTP}]"),
        route("all", "{parentRefs: [{name: edge}], rules: [{backendRefs: [{name: app, port: 80}]}]}"),
    )
)
TARGET = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}]"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def policy(name: str, spec: str, kind: str = "AuthorizationPolicy") -> str:
    return (
        f"apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: default}}\n"
        f"spec: {{{TARGET}, {spec}}}\n---\n"
    )


async def check(envoy: Path, manifests: str, table: str) -> None:
    async with calls(envoy, MESH + manifests, gateways=(("default/edge", (80,)),)) as mesh:
        await mesh.check(table)


@pytest.mark.anyio
async def test_deny_is_asked_before_allow_and_what_nobody_allows_is_refused(envoy_binary: Path) -> None:
    await check(
        envoy_binary,
        policy("deny", "action: DENY, rules: [{to: [{operation: {paths: [/admin*, '*.bak']}}]}]")
        + policy(
            "allow",
            "rules: [{to: [{operation: {methods: [GET], notPaths: [/hidden, /hidden/*]}},"
            " {operation: {methods: [PUT], hosts: [put.example], paths: ['/items/{*}', '/files/{**}']}}]}]",
        ),
        """
        edge:80 | GET a.example/                     | app
        edge:80 | GET a.example/admin                | 403
        edge:80 | GET a.example/administrator        | 403
        edge:80 | GET a.example/x/..//admin          | 403
        edge:80 | GET a.example/store.bak?x=1        | 403
        edge:80 | GET a.example/hidden               | 403
        edge:80 | GET a.example/hidden/x             | 403
        edge:80 | GET a.example/hiddenx              | app
        edge:80 | POST a.example/                    | 403
        edge:80 | PUT put.example/items/1            | app
        edge:80 | PUT PUT.example:8080/items/1       | app
        edge:80 | PUT put.example/items/1/2          | 403
        edge:80 | PUT put.example/items              | 403
        edge:80 | PUT put.example/files/a/b/c        | app
        edge:80 | PUT put.example/files/admin        | app
        edge:80 | PUT a.example/items/1              | 403
        """,
    )


@pytest.mark.anyio
async def test_conditions_about_headers_and_ports(envoy_binary: Path) -> None:
    await check(
        envoy_binary,
        policy(
            "allow",
            "rules: [{to: [{operation: {ports: ['80']}}], when: [{key: 'request.headers[X-Team]', values: [red, 'bl*']},"
            " {key: 'request.headers[x-test]', notValues: ['*']}]}, {to: [{operation: {ports: ['81']}}]}]",
        ),
        """
        edge:80 | GET a.example/                       | 403
        edge:80 | GET a.example/ x-team:red            | app
        edge:80 | GET a.example/ X-TEAM:blue           | app
        edge:80 | GET a.example/ x-team:redder         | 403
        edge:80 | GET a.example/ x-team:red x-team:red | 403
        edge:80 | GET a.example/ x-team:red x-test:1   | 403
        """,
    )


@pytest.mark.anyio
async def test_a_port_beside_a_host_is_the_listeners_whatever_the_caller_writes(envoy_binary: Path) -> None:
    await check(
        envoy_binary,
        policy(
            "deny",
            "action: DENY, rules: [{to: [{operation: {hosts: ['a.example:80', 'b.example:81', 'c.example:*']}}]}]",
        ),
        """
        edge:80 | GET a.example/      | 403
        edge:80 | GET A.example:80/   | 403
        edge:80 | GET a.example.:81/  | 403
        edge:80 | GET b.example/      | app
        edge:80 | GET b.example:81/   | app
        edge:80 | GET c.example/      | 403
        edge:80 | GET c.example:9/    | 403
        edge:80 | GET c.example.com/  | app
        """,
    )
    await check(
        envoy_binary,
        policy("allow", "rules: [{to: [{operation: {hosts: ['a.example:80'], notHosts: ['*:81']}}]}]"),
        """
        edge:80 | GET a.example/      | app
        edge:80 | GET a.example:81/   | app
        edge:80 | GET b.example:80/   | 403
        """,
    )


@pytest.mark.anyio
async def test_a_policy_without_rules_allows_nothing_and_a_dry_run_decides_nothing(envoy_binary: Path) -> None:
    await check(envoy_binary, policy("nothing", "action: ALLOW"), "edge:80 | GET a.example/ | 403")
    dry = policy("soon", "action: DENY, rules: [{}]").replace(
        "namespace: default", "namespace: default, annotations: {istio.io/dry-run: 'true'}"
    )
    await check(envoy_binary, dry, "edge:80 | GET a.example/ | app")


@pytest.mark.anyio
async def test_nobody_without_an_identity_passes_where_one_is_asked_for(envoy_binary: Path) -> None:
    rules = "rules: [{from: [{source: {principals: ['*']}}]}, {from: [{source: {namespaces: [default]}}]}]"
    await check(envoy_binary, policy("peers", rules), "edge:80 | GET a.example/ | 403")
    strangers = "action: DENY, rules: [{from: [{source: {notPrincipals: ['*']}}]}]"
    await check(envoy_binary, policy("strangers", strangers), "edge:80 | GET a.example/ | 403")


@pytest.mark.anyio
async def test_tokens_say_who_asks(envoy_binary: Path) -> None:
    issuer = rsa("https://id.example")
    good = f"authorization:'Bearer {issuer.token(groups=['staff', 'payers'], scope='read write')}'"
    bob = f"authorization:'Bearer {issuer.token(sub='bob')}'"
    forged = f"authorization:'Bearer {rsa('https://id.example').token()}'"
    await check(
        envoy_binary,
        policy(
            "people",
            f"jwtRules: [{{issuer: https://id.example, audiences: [shop], jwks: '{issuer.jwks}',"
            " outputClaimToHeaders: [{header: x-user, claim: sub}]}]",
            "RequestAuthentication",
        )
        + policy(
            "payers",
            "action: DENY, rules: [{from: [{source: {notRequestPrincipals: ['https://id.example/*']}}],"
            " to: [{operation: {paths: [/me, /pay]}}]},"
            " {to: [{operation: {paths: [/pay]}}], when: [{key: 'request.auth.claims[groups]', notValues: [payers]}]},"
            " {to: [{operation: {paths: [/write]}}], when: [{key: 'request.auth.claims[scope]', notValues: [write]}]}]",
        ),
        f"""
        edge:80 | GET a.example/                 | app !x-user
        edge:80 | GET a.example/ x-user:root     | app !x-user
        edge:80 | GET a.example/ {forged}        | 401
        edge:80 | GET a.example/me               | 403
        edge:80 | GET a.example/me {bob}         | app x-user=bob !authorization
        edge:80 | GET a.example/pay {bob}        | 403
        edge:80 | GET a.example/pay {good}       | app x-user=alice
        edge:80 | GET a.example/write {bob}      | 403
        edge:80 | GET a.example/write {good}     | app
        """,
    )


@pytest.mark.anyio
async def test_somebody_else_is_asked_about_what_a_custom_policy_matches(envoy_binary: Path) -> None:
    provider = (
        "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {name: m}\nspec: {security: {providers: {check: {http:"
        " {service: check, port: 80, pathPrefix: /check, includeRequestHeadersInCheck: [x-answer]}}}}}\n---\n"
    )
    custom = policy("ask", "action: CUSTOM, provider: {name: check}, rules: [{to: [{operation: {paths: [/secret*]}}]}]")
    deny = policy("deny", "action: DENY, rules: [{to: [{operation: {methods: [PUT]}}]}]")
    async with calls(envoy_binary, MESH + provider + custom + deny, gateways=(("default/edge", (80,)),)) as mesh:
        await mesh.check(
            """
            edge:80 | GET a.example/open                     | app
            edge:80 | GET a.example/secret                   | app
            edge:80 | GET a.example/secret/x x-answer:403    | 403
            edge:80 | PUT a.example/secret                   | 403
            """
        )
        asked = mesh.apps["check"].seen
        assert asked == {"GET /check/secret": 1, "GET /check/secret/x": 1, "PUT /check/secret": 1}
        assert not any("/secret/x" in each or "PUT" in each for each in mesh.apps["app"].seen)
