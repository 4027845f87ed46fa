"""Calls inside the mesh, by every name a service has, with producer's and consumer's routes and without any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.calls.table import calls
from tests.support.compiled import accepted, codes, resolved, route, service

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.envoy


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def parent(name: str, namespace: str = "", port: int = 0, section: str = "") -> str:
    parts = [f"group: '', kind: Service, name: {name}"]
    parts += [f"namespace: {namespace}"] if namespace else []
    parts += [f"port: {port}"] if port else []
    parts += [f"sectionName: {section}"] if section else []
    return f"{{{', '.join(parts)}}}"


def to(name: str, match: str = "", filters: str = "", namespace: str = "") -> str:
    found = f"matches: [{{{match}}}], " if match else ""
    changed = f"filters: [{filters}], " if filters else ""
    where = f", namespace: {namespace}" if namespace else ""
    return f"{{{found}{changed}backendRefs: [{{name: {name}, port: 80{where}}}]}}"


TWO_PORTS = """
apiVersion: v1
kind: Service
metadata: {name: ports}
spec:
  selector: {app: ports}
  ports: [{name: http, port: 8080}, {name: http-alt, port: 9090}, {name: redis, port: 6379}]
---
"""
HEADLESS = """
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: headless}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
"""
GRANT = """
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: lent, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: '', kind: Service, name: lent}]
---
"""
REDIRECT = "{type: RequestRedirect, requestRedirect: {scheme: https}}"
STRIP = "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}"

MESH = "".join(
    (
        service("plain"),
        service("plain", "other"),
        service("v1"),
        service("v2"),
        service("v1", "other"),
        service("lent", "other"),
        service("private", "other"),
        service("shop"),
        service("front"),
        service("split"),
        TWO_PORTS,
        HEADLESS,
        GRANT,
        route(
            "shop",
            f"{{parentRefs: [{parent('shop')}], rules: ["
            + ", ".join(
                (
                    to("v2", "headers: [{name: version, value: two}]"),
                    to("v1", "path: {value: /v1}", STRIP),
                    to("lent", "path: {value: /lent}", namespace="other"),
                    to("private", "path: {value: /private}", namespace="other"),
                    f"{{matches: [{{path: {{value: /secure}}}}], filters: [{REDIRECT}]}}",
                    to("shop", "path: {value: /self}"),
                )
            )
            + "]}",
        ),
        route(
            "front-producer",
            f"{{parentRefs: [{parent('front')}], rules: [{to('v1')}]}}",
        ),
        route(
            "front-consumer",
            f"{{parentRefs: [{parent('front', 'default')}], rules: [{to('v1', 'path: {value: /mine}')}]}}",
            "other",
        ),
        route("alt", f"{{parentRefs: [{parent('ports', port=9090)}], rules: [{to('v1')}]}}"),
        route("first", f"{{parentRefs: [{parent('ports', section='http')}], rules: [{to('v2')}]}}"),
        route("two-parents", f"{{parentRefs: [{parent('split')}, {parent('headless')}], rules: [{to('v2')}]}}"),
        route("tcp", f"{{parentRefs: [{parent('ports', port=6379)}], rules: [{to('v2')}]}}"),
    )
)

ROWS = """
caller | GET plain/x                              | plain path=/x host=plain
caller | GET plain:80/                            | plain host=plain:80
caller | GET plain.default/                       | plain
caller | GET plain.default:80/                    | plain
caller | GET plain.default.svc/                   | plain
caller | GET plain.default.svc:80/                | plain
caller | GET plain.default.svc.cluster.local/     | plain host=plain.default.svc.cluster.local
caller | GET plain.default.svc.cluster.local:80/  | plain
caller | GET plain.default.svc.cluster.local./    | plain
caller | GET PLAIN.Default/                       | plain
caller | GET plain.other/                         | plain.other
caller | GET plain.other.svc.cluster.local:80/    | plain.other
guest  | GET plain/                               | plain.other
guest  | GET plain.other/                         | plain.other
guest  | GET plain.default/                       | plain
caller | GET plain:81/                            | 502
caller | GET plan/                                | 502
caller | GET plain.nowhere/                       | 502
caller | GET headless/                            | v2
caller | GET ports/                               | v2
caller | GET ports:9090/                          | v1

caller | GET shop/ version:two                    | v2
guest  | GET shop.default/ version:two            | v2
caller | GET shop/v1/a/b                          | v1 path=/a/b host=shop
caller | GET shop.default/v1                      | v1 path=/
caller | GET shop/lent                            | lent.other
caller | GET shop/private                         | 500
caller | GET shop/self                            | shop
caller | GET shop/nothing                         | 404
caller | GET shop/secure                          | 302 <location=https://shop:443/secure

caller | GET front/                               | v1
caller | GET front/mine                           | v1
# A consumer's route replaces the producer's for its own namespace, whole.
guest  | GET front.default/mine                   | v1.other
guest  | GET front.default/                       | 404
caller | GET split/                               | v2
"""


async def test_every_name_leads_where_the_callers_routes_say(envoy_binary: Path) -> None:
    async with calls(envoy_binary, MESH, callers=("default/caller", "other/guest")) as mesh:
        await mesh.check(ROWS)
        assert resolved(mesh.compiled, "shop") == ("False", "RefNotPermitted")
        assert accepted(mesh.compiled, "tcp") == ("False", "NoMatchingParent")
        assert sorted(codes(mesh.compiled)) == ["WFT-1204", "WFT-1205"]
        unknown = await mesh.ask("caller | GET plan/ | 502")
        assert b'"plan"' in unknown.body
        assert b"plain" in unknown.body


OPEN = (
    service("plain")
    + """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {name: open}
spec: {outboundTraffic: allowAny}
---
"""
)


async def test_an_open_mesh_passes_unknown_names_on_and_still_knows_its_own(envoy_binary: Path) -> None:
    async with calls(envoy_binary, OPEN, callers=("default/caller",)) as mesh:
        await mesh.check(
            """
            caller | GET plain/                     | plain
            caller | GET plain:81/                  | 502
            # Passed on, and then no such name is found in the DNS.
            caller | GET nobody.invalid/            | 503
            """
        )
