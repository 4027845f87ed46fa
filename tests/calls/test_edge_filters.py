"""What a route does with a request at an edge: change, redirect, rewrite, copy, share, limit, repeat, refuse."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.calls.table import calls, rows
from tests.support.compiled import gateway, resolved, route, service

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.envoy

SERVICES = service("v1") + service("v2") + service("v3")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def rule(
    path: str = "/", *filters: str, backends: str = "{name: v1, port: 80}", more: str = "", match: str = ""
) -> str:
    """One rule for a prefix."""
    refs = f"backendRefs: [{backends}]" if backends else "backendRefs: []"
    found = f"matches: [{{path: {{value: {path}}}{match}}}]"
    return f"{{{found}, filters: [{', '.join(filters)}], {refs}{more}}}"


def at(name: str, host: str, *rules: str, parent: str = "{name: edge}", namespace: str = "default") -> str:
    return route(name, f"{{parentRefs: [{parent}], hostnames: [{host}], rules: [{', '.join(rules)}]}}", namespace)


def redirect(path: str, fields: str) -> str:
    return rule(path, f"{{type: RequestRedirect, requestRedirect: {{{fields}}}}}", backends="")


def rewrite(path: str, fields: str) -> str:
    return rule(path, f"{{type: URLRewrite, urlRewrite: {{{fields}}}}}")


def mirror(fields: str) -> str:
    return f"{{type: RequestMirror, requestMirror: {{{fields}}}}}"


CHANGES = "".join(
    (
        SERVICES,
        gateway("edge", "[{name: http, port: 80, protocol: HTTP}, {name: alt, port: 8080, protocol: HTTP}]"),
        at(
            "headers",
            "headers.example",
            rule(
                "/request",
                "{type: RequestHeaderModifier, requestHeaderModifier:"
                " {set: [{name: X-Set, value: new}], add: [{name: X-Add, value: two}], remove: [X-Old, x-Older]}}",
            ),
            rule(
                "/response",
                "{type: ResponseHeaderModifier, responseHeaderModifier:"
                " {set: [{name: Server, value: edge}], add: [{name: X-App, value: more}], remove: [x-none]}}",
            ),
            rule(
                "/backend",
                backends="{name: v1, port: 80, filters: [{type: RequestHeaderModifier, requestHeaderModifier:"
                " {set: [{name: x-backend, value: v1}]}}, {type: ResponseHeaderModifier, responseHeaderModifier:"
                " {remove: [X-App], set: [{name: x-out, value: '100%'}]}}]}",
            ),
        ),
        at(
            "redirects",
            "to.example",
            redirect("/host", "hostname: new.example"),
            redirect("/status", "hostname: new.example, statusCode: 301"),
            redirect("/303", "hostname: new.example, statusCode: 303"),
            redirect("/308", "hostname: new.example, statusCode: 308"),
            redirect("/https", "scheme: https, hostname: new.example"),
            redirect("/scheme-only", "scheme: https"),
            redirect("/scheme-port", "scheme: https, port: 8443"),
            redirect("/http", "scheme: http"),
            redirect("/port", "port: 8083"),
            redirect("/port-80", "scheme: http, port: 80"),
            redirect("/full", "path: {type: ReplaceFullPath, replaceFullPath: /whole}"),
            redirect("/prefix", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /other}"),
            redirect("/strip", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /}"),
        ),
        at(
            "rewrites",
            "rewrite.example",
            rewrite("/prefix", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /one/}"),
            rewrite("/strip", "path: {type: ReplacePrefixMatch, replacePrefixMatch: ''}"),
            rewrite("/strip/me", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /}"),
            rewrite("/full", "path: {type: ReplaceFullPath, replaceFullPath: /one}"),
            rewrite("/host", "hostname: inner.example"),
            rewrite("/both", "hostname: inner.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}"),
            rewrite("/", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /base}"),
        ),
        at(
            "mirrors",
            "mirror.example",
            rule("/one", mirror("backendRef: {name: v2, port: 80}")),
            rule("/two", mirror("backendRef: {name: v2, port: 80}"), mirror("backendRef: {name: v3, port: 80}")),
            rule("/never", mirror("backendRef: {name: v2, port: 80}, percent: 0")),
            rule("/fraction", mirror("backendRef: {name: v2, port: 80}, fraction: {numerator: 3, denominator: 3}")),
            rule("/bad", mirror("backendRef: {name: gone, port: 80}")),
        ),
    )
)


async def test_filters_change_requests_and_answers(envoy_binary: Path) -> None:
    async with calls(envoy_binary, CHANGES, gateways=(("default/edge", (80, 8080)),)) as mesh:
        # Clusters of mirrors may still warm when the first request comes.
        for row in rows("edge:80 | GET mirror.example/one/warm | v1\nedge:80 | GET mirror.example/two/warm | v1"):
            await mesh.call(row)
        await mesh.check(
            """
            edge:80 | GET headers.example/request x-set:old x-add:one x-old:1 X-OLDER:2 | v1 x-set=new !x-old !x-older x-add=two
            edge:80 | GET headers.example/request              | v1 x-set=new x-add=two
            edge:80 | GET headers.example/response             | v1 <server=edge "<x-app=yes, more"
            edge:80 | GET headers.example/backend x-backend:me | v1 x-backend=v1 <!x-app <x-out=100%

            edge:80   | GET to.example/host/a?q=1     | 302 <location=http://new.example/host/a?q=1
            edge:8080 | GET to.example/host/a?q=1     | 302 <location=http://new.example:8080/host/a?q=1
            edge:80   | POST to.example/status        | 301 <location=http://new.example/status
            edge:80   | GET to.example/303            | 303 <location=http://new.example/303
            edge:80   | GET to.example/308            | 308 <location=http://new.example/308
            edge:80   | GET to.example/https          | 302 <location=https://new.example/https
            edge:8080 | GET to.example/https          | 302 <location=https://new.example/https
            edge:8080 | GET to.example/scheme-only    | 302 <location=https://to.example/scheme-only
            edge:80   | GET to.example/scheme-port    | 302 <location=https://to.example:8443/scheme-port
            edge:8080 | GET to.example:8080/http      | 302 <location=http://to.example/http
            edge:80   | GET to.example/port           | 302 <location=http://to.example:8083/port
            edge:8080 | GET to.example/port-80        | 302 <location=http://to.example/port-80
            edge:80   | GET to.example/full/a?q=1     | 302 <location=http://to.example/whole?q=1
            edge:8080 | GET to.example/full           | 302 <location=http://to.example:8080/whole
            edge:80   | GET to.example/prefix/a/b     | 302 <location=http://to.example/other/a/b
            edge:80   | GET to.example/strip/a        | 302 <location=http://to.example/a
            edge:80   | GET to.example/strip          | 302 <location=http://to.example/

            edge:80 | GET rewrite.example/prefix/two   | v1 path=/one/two host=rewrite.example
            edge:80 | GET rewrite.example/prefix?q=/a  | v1 path=/one?q=/a
            edge:80 | GET rewrite.example/strip/two    | v1 path=/two
            edge:80 | GET rewrite.example/strip        | v1 path=/
            edge:80 | GET rewrite.example/strip/me/now | v1 path=/now
            edge:80 | GET rewrite.example/full/x?q=1   | v1 path=/one?q=1
            edge:80 | GET rewrite.example/host/x       | v1 path=/host/x host=inner.example
            edge:80 | GET rewrite.example/both/x       | v1 path=/x/x host=inner.example
            edge:80 | GET rewrite.example/any          | v1 path=/base/any
            edge:80 | GET rewrite.example/             | v1 path=/base/

            edge:80 | GET mirror.example/one/x         | v1 copy=v2
            edge:80 | POST mirror.example/two/x        | v1 copy=v2 copy=v3
            edge:80 | GET mirror.example/fraction      | v1 copy=v2
            edge:80 | GET mirror.example/never         | v1 tries=1
            edge:80 | GET mirror.example/bad           | v1
            """
        )
        assert resolved(mesh.compiled, "mirrors") == ("False", "BackendNotFound")
        assert mesh.apps["v2"].seen["GET /never"] == 0


TCP = """
apiVersion: v1
kind: Service
metadata: {name: redis}
spec: {selector: {app: redis}, ports: [{name: redis, port: 6379}]}
---
"""
GRANT = """
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: open, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: '', kind: Service, name: open}]
---
"""
EXTENSION = "{type: ExtensionRef, extensionRef: {group: example.com, kind: Magic, name: a}}"

LIMITS = "".join(
    (
        SERVICES,
        TCP,
        GRANT,
        service("open", "other"),
        service("closed", "other"),
        gateway("edge", "[{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]"),
        at(
            "shares",
            "share.example",
            rule(
                "/",
                backends="{name: v1, port: 80, weight: 3}, {name: v2, port: 80}, {name: v3, port: 80, weight: 0},"
                " {name: gone, port: 80, weight: 2}",
            ),
        ),
        at(
            "empty",
            "empty.example",
            rule("/none", backends=""),
            rule("/zero", backends="{name: v1, port: 80, weight: 0}"),
            rule("/gone", backends="{name: gone, port: 80}"),
            rule("/port", backends="{name: v1, port: 81}"),
            rule("/tcp", backends="{name: redis, port: 6379}"),
            rule("/kind", backends="{name: v1, group: example.com, kind: Bucket, port: 80}"),
            rule("/open", backends="{name: open, namespace: other, port: 80}"),
            rule("/closed", backends="{name: closed, namespace: other, port: 80}"),
            rule("/magic", EXTENSION),
            rule("/fine", backends="{name: v1, port: 80}"),
        ),
        at(
            "guest",
            "guest.example",
            "{backendRefs: [{name: closed, port: 80}]}",
            parent="{name: edge, namespace: default}",
            namespace="other",
        ),
        at(
            "times",
            "time.example",
            rule("/request", more=", timeouts: {request: 500ms}"),
            rule(
                "/attempt",
                more=", timeouts: {request: 10s, backendRequest: 300ms}, retry: {attempts: 1, backoff: 1ms, codes: [504]}",
            ),
            rule("/endless", more=", timeouts: {request: 0s}"),
            rule("/free", more=", timeouts: {backendRequest: 0s}"),
        ),
        at(
            "tries",
            "try.example",
            rule("/codes", more=", retry: {codes: [500, 599], attempts: 2, backoff: 1ms}"),
            rule("/default"),
            rule("/off", more=", retry: {attempts: 0}"),
        ),
    )
)


async def test_limits_refusals_and_shares_are_kept(envoy_binary: Path) -> None:
    async with calls(envoy_binary, LIMITS, gateways=(("default/edge", (80,)),)) as mesh:
        await mesh.check(
            """
            edge:80 | GET empty.example/none      | 500
            edge:80 | GET empty.example/zero      | 500
            edge:80 | GET empty.example/gone      | 500
            edge:80 | GET empty.example/port      | 500
            edge:80 | GET empty.example/tcp       | 500
            edge:80 | GET empty.example/kind      | 500
            edge:80 | GET empty.example/open      | open.other
            edge:80 | GET empty.example/closed    | 500
            edge:80 | GET empty.example/magic     | 500
            edge:80 | GET empty.example/fine      | v1
            edge:80 | GET guest.example/          | closed.other
            edge:80 | GET nobody.example/         | 404

            edge:80 | GET time.example/request/a x-wait:5   | 504 tries=1
            edge:80 | GET time.example/request/b            | v1
            edge:80 | GET time.example/attempt/a x-wait:5   | 504 tries=2
            edge:80 | GET time.example/endless x-wait:0.4   | v1
            edge:80 | GET time.example/free x-wait:0.4      | v1

            edge:80 | GET try.example/codes/a x-answer:500   | 500 tries=3
            edge:80 | GET try.example/codes/b x-answer:503   | 503 tries=1
            edge:80 | GET try.example/codes/c x-answer:404   | 404 tries=1
            edge:80 | GET try.example/default x-answer:503   | 503 tries=1
            edge:80 | POST try.example/default/x x-answer:500 | 500 tries=1
            edge:80 | GET try.example/off x-answer:503       | 503 tries=1
            """
        )
        row = rows("edge:80 | GET share.example/ | v1")[0]
        answers = [await mesh.call(row) for _ in range(400)]
        got = Counter(answer.seen["app"] if answer.status == 200 else str(answer.status) for answer in answers)
        # Binomial with n=400: five standard deviations are 50 for one half, 43 for one sixth and 47 for one third.
        assert abs(got["v1"] - 200) < 50
        assert abs(got["v2"] - 67) < 43
        assert abs(got["500"] - 133) < 47
        assert got["v3"] == 0


CORS = "".join(
    (
        SERVICES,
        gateway("edge", "[{name: http, port: 80, protocol: HTTP}]"),
        at(
            "cors",
            "cors.example",
            rule(
                "/",
                "{type: CORS, cors: {allowOrigins: [https://www.a.example, 'https://*.b.example'], allowMethods: [GET, PUT],"
                " allowHeaders: [x-one], exposeHeaders: [x-app], allowCredentials: true, maxAge: 60}}",
            ),
            rule("/any", "{type: CORS, cors: {allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*']}}"),
            rule("/put", "{type: CORS, cors: {allowOrigins: ['https://a.example']}}", match=", method: PUT"),
        ),
    )
)
ASK = "access-control-request-method"
ALLOW = "access-control-allow"


async def test_browsers_of_other_origins_are_told_what_they_may(envoy_binary: Path) -> None:
    async with calls(envoy_binary, CORS, gateways=(("default/edge", (80,)),)) as mesh:
        await mesh.check(
            f"""
            edge:80 | OPTIONS cors.example/ origin:https://www.a.example {ASK}:PUT | 200 <{ALLOW}-origin=https://www.a.example
            ... <{ALLOW}-credentials=true <access-control-max-age=60 <{ALLOW}-headers=x-one <{ALLOW}-methods=GET,PUT
            edge:80 | OPTIONS cors.example/ origin:https://x.y.b.example {ASK}:PUT | 200 <{ALLOW}-origin=https://x.y.b.example
            edge:80 | OPTIONS cors.example/ origin:https://b.example {ASK}:PUT     | 200 <!{ALLOW}-origin
            edge:80 | OPTIONS cors.example/ origin:http://www.a.example {ASK}:PUT  | 200 <!{ALLOW}-origin
            edge:80 | OPTIONS cors.example/put origin:https://a.example {ASK}:PUT  | 200 <{ALLOW}-origin=https://a.example
            edge:80 | PUT cors.example/ origin:https://www.a.example   | v1 <{ALLOW}-origin=https://www.a.example
            ... <access-control-expose-headers=x-app <{ALLOW}-credentials=true
            edge:80 | GET cors.example/ origin:https://evil.example    | v1 <!{ALLOW}-origin
            edge:80 | GET cors.example/                                | v1 <!{ALLOW}-origin
            # A star without credentials is answered by the origin itself, which the specification leaves to Envoy.
            edge:80 | GET cors.example/any origin:https://evil.example | v1 <{ALLOW}-origin=https://evil.example
            edge:80 | OPTIONS cors.example/any origin:https://evil.example {ASK}:PUT access-control-request-headers:x-any
            ... | 200 <{ALLOW}-methods=PUT <{ALLOW}-headers=x-any <!{ALLOW}-credentials
            """
        )
