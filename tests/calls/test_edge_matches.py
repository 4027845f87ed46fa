"""Which requests a route takes at an edge: hosts, paths, headers, methods, and whose rule wins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.calls.table import calls
from tests.support.compiled import gateway, listeners_of, route, service

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.envoy

SERVICES = service("v1") + service("v2") + service("v3")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def to(name: str, *matches: str) -> str:
    found = f"matches: [{', '.join(f'{{{match}}}' for match in matches)}], " if matches else ""
    return f"{{{found}backendRefs: [{{name: {name}, port: 80}}]}}"


def at(name: str, host: str, *rules: str, parent: str = "{name: edge}", created: str = "") -> str:
    """A route for one host at the edge."""
    hostnames = f"hostnames: [{host!r}], " if host else ""
    return route(name, f"{{parentRefs: [{parent}], {hostnames}rules: [{', '.join(rules)}]}}", created=created)


MATCHES = "".join(
    (
        SERVICES,
        gateway("edge", "[{name: http, port: 80, protocol: HTTP}, {name: alt, port: 8080, protocol: HTTP}]"),
        at(
            "paths",
            "paths.example",
            to("v1", "path: {type: Exact, value: /one}", "path: {type: Exact, value: /One/}"),
            to("v2", "path: {type: PathPrefix, value: /two/}"),
            to("v3", "path: {type: PathPrefix, value: /two/three}"),
            to("v3", r"path: {type: RegularExpression, value: '/r/[0-9]+'}"),
            to("v1", "path: {type: PathPrefix, value: /caf%C3%A9}"),
        ),
        at(
            "headers",
            "headers.example",
            to("v1", "headers: [{name: Version, value: one}]"),
            to("v2", "headers: [{name: version, value: two}]"),
            to("v3", "headers: [{name: version, value: two}, {name: color, value: orange}]"),
            to("v1", "headers: [{name: color, value: blue}]", "headers: [{name: color, value: green}]"),
            to("v2", "headers: [{name: color, type: RegularExpression, value: 'red|yel+ow'}]"),
        ),
        at(
            "queries",
            "queries.example",
            to("v1", "queryParams: [{name: animal, value: whale}]"),
            to("v2", "queryParams: [{name: animal, value: dolphin}]"),
            to("v3", "queryParams: [{name: animal, value: dolphin}, {name: color, value: blue}]"),
            to("v3", "queryParams: [{name: ANIMAL, value: Whale}]"),
            to("v2", "queryParams: [{name: id, type: RegularExpression, value: '[0-9]+'}]"),
        ),
        at(
            "methods",
            "methods.example",
            to("v1", "method: POST"),
            to("v2", "method: GET"),
            to("v3", "method: DELETE, path: {value: /items}, headers: [{name: force, value: 'yes'}]"),
        ),
        at(
            "order",
            "order.example",
            to("v1", "path: {value: /match}"),
            to("v2", "path: {type: Exact, value: /match}"),
            to("v3", "path: {value: /match/exact/deep}"),
            to("v1", "path: {type: RegularExpression, value: '/match/e.*'}"),
            to("v2", "path: {value: /many}, headers: [{name: a, value: '1'}, {name: b, value: '1'}]"),
            to("v3", "path: {value: /many}, method: GET"),
            to("v1", "path: {value: /many}, headers: [{name: a, value: '1'}], queryParams: [{name: q, value: '1'}]"),
            to("v2", "path: {value: /first}"),
            to("v1", "path: {value: /first}"),
        ),
        at("z-old", "age.example", to("v1", "path: {value: /same}"), created="2024-01-01T00:00:00Z"),
        at(
            "a-new",
            "age.example",
            to("v2", "path: {value: /same}"),
            to("v3", "path: {value: /same/longer}"),
            created="2025-01-01T00:00:00Z",
        ),
        at("alt", "alt.example", to("v1"), parent="{name: edge, sectionName: alt}"),
        at("by-port", "port.example", to("v2"), parent="{name: edge, port: 8080}"),
    )
)


MATCH_ROWS = r"""
edge:80 | GET paths.example/one               | v1
edge:80 | GET paths.example/one?q=1           | v1
edge:80 | GET paths.example/One/              | v1
edge:80 | GET paths.example/one/              | 404
edge:80 | GET paths.example/ONE               | 404
edge:80 | GET paths.example/two               | v2
edge:80 | GET paths.example/two/              | v2
edge:80 | GET paths.example/two/x?q=/two/three | v2
edge:80 | GET paths.example/twofold           | 404
edge:80 | GET paths.example/two/three         | v3
edge:80 | GET paths.example/two/threes        | v2
edge:80 | GET paths.example/r/42              | v3
edge:80 | GET paths.example/r/42/x            | 404
edge:80 | GET paths.example/x/r/42            | 404
edge:80 | GET paths.example/caf%C3%A9/menu    | v1
edge:80 | GET paths.example/                  | 404

edge:80 | GET headers.example/ VERSION:one                 | v1
edge:80 | GET headers.example/ version:two                 | v2
edge:80 | GET headers.example/ version:TWO                 | 404
edge:80 | GET headers.example/ version:two color:orange    | v3
edge:80 | GET headers.example/ Color:blue                  | v1
edge:80 | GET headers.example/ color:green                 | v1
edge:80 | GET headers.example/ color:yellow                | v2
edge:80 | GET headers.example/ color:yellowish             | 404
edge:80 | GET headers.example/ color:orange                | 404
edge:80 | GET headers.example/                             | 404

edge:80 | GET queries.example/?animal=whale                | v1
edge:80 | GET queries.example/?animal=dolphin              | v2
edge:80 | GET queries.example/?color=blue&animal=dolphin   | v3
edge:80 | GET queries.example/?ANIMAL=Whale                | v3
edge:80 | GET queries.example/?animal=shark                | 404
edge:80 | GET queries.example/?id=12                       | v2
edge:80 | GET queries.example/?id=12a                      | 404
edge:80 | GET queries.example/ animal:whale                | 404

edge:80 | POST methods.example/                            | v1
edge:80 | GET methods.example/items                        | v2
edge:80 | DELETE methods.example/items force:yes           | v3
edge:80 | DELETE methods.example/items                     | 404
edge:80 | PATCH methods.example/                           | 404

edge:80 | GET order.example/match                          | v2
edge:80 | GET order.example/match/x                        | v1
edge:80 | GET order.example/match/exact/deep               | v1
edge:80 | GET order.example/many?q=1 a:1 b:1               | v3
edge:80 | PUT order.example/many?q=1 a:1 b:1               | v2
edge:80 | PUT order.example/many?q=1 a:1                   | v1
edge:80 | GET order.example/first                          | v2

edge:80 | GET age.example/same                             | v1
edge:80 | GET age.example/same/longer                      | v3

edge:80   | GET alt.example/                               | 404
edge:8080 | GET alt.example/                               | v1
edge:80   | GET port.example/                              | 404
edge:8080 | GET port.example/                              | v2
edge:8080 | GET paths.example/one                          | v1
"""


async def test_matches_take_the_requests_that_they_describe(envoy_binary: Path) -> None:
    async with calls(envoy_binary, MATCHES, gateways=(("default/edge", (80, 8080)),)) as mesh:
        await mesh.check(MATCH_ROWS)


HOSTS = "".join(
    (
        SERVICES,
        service("web", "other"),
        """
apiVersion: v1
kind: Namespace
metadata: {name: other, labels: {team: blue}}
---
""",
        gateway(
            "hosts",
            """[
            {name: every, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}},
            {name: wild, port: 80, protocol: HTTP, hostname: '*.wild.example'},
            {name: exact, port: 80, protocol: HTTP, hostname: very.specific.wild.example},
            {name: blue, port: 8080, protocol: HTTP, hostname: '*.blue.example',
             allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: blue}}}}},
            {name: same, port: 8080, protocol: HTTP, hostname: same.example}]""",
        ),
        at("everywhere", "", to("v1", "path: {value: /every}"), parent="{name: hosts}"),
        at(
            "listener-host",
            "",
            to("v2", "path: {value: /wild}"),
            parent="{name: hosts, sectionName: wild}",
        ),
        route(
            "several",
            "{parentRefs: [{name: hosts, sectionName: every}], hostnames: [a.example, '*.b.example', deep.b.example],"
            " rules: [" + to("v3", "path: {value: /several}") + "]}",
        ),
        at("deeper", "deep.b.example", to("v1", "path: {value: /}"), parent="{name: hosts, sectionName: every}"),
        at("wide", "*.c.example", to("v2", "path: {value: /long/path}"), parent="{name: hosts, sectionName: every}"),
        at("exact", "x.c.example", to("v1", "path: {value: /long}"), parent="{name: hosts, sectionName: every}"),
        at("narrowed", "*.specific.wild.example", to("v3", "path: {value: /narrow}"), parent="{name: hosts}"),
        route(
            "guest",
            "{parentRefs: [{name: hosts, namespace: default}], hostnames: [guest.blue.example, same.example],"
            " rules: [{backendRefs: [{name: web, port: 80}]}]}",
            "other",
        ),
    )
)


async def test_a_host_belongs_to_one_listener_and_its_most_specific_routes_come_first(envoy_binary: Path) -> None:
    async with calls(envoy_binary, HOSTS, gateways=(("default/hosts", (80, 8080)),)) as mesh:
        await mesh.check(
            """
            hosts:80 | GET anything.example/every              | v1
            hosts:80 | GET anything.example/wild               | 404
            hosts:80 | GET x.wild.example/wild                 | v2
            hosts:80 | GET x.y.wild.example/wild               | v2
            hosts:80 | GET wild.example/wild                   | 404
            hosts:80 | GET wild.example/every                  | v1
            hosts:80 | GET x.wild.example/every                | v1
            hosts:80 | GET very.specific.wild.example/every    | v1
            # The most specific listener has the host alone, so routes of the wildcard listener are not asked.
            hosts:80 | GET very.specific.wild.example/wild     | 404
            hosts:80 | GET very.specific.wild.example/narrow   | v3
            hosts:80 | GET most.specific.wild.example/narrow   | v3
            hosts:80 | GET other.wild.example/narrow           | 404

            hosts:80 | GET a.example/several                   | v3
            hosts:80 | GET A.EXAMPLE:8888/several              | v3
            hosts:80 | GET x.b.example/several                 | v3
            hosts:80 | GET b.example/several                   | 404
            # Of two routes for one host the specification lets the longest path win.
            hosts:80 | GET deep.b.example/several              | v3
            hosts:80 | GET deep.b.example/                     | v1
            hosts:80 | GET deep.b.example/every                | v1

            # The most specific hostname comes before the longest path; what it does not match falls through.
            hosts:80 | GET x.c.example/long/path               | v1
            hosts:80 | GET y.c.example/long/path               | v2
            hosts:80 | GET x.c.example/every                   | v1

            hosts:80   | GET guest.blue.example/x              | web.other
            hosts:8080 | GET guest.blue.example/x              | web.other
            hosts:8080 | GET same.example/x                    | 404
            hosts:8080 | GET same.example/every                | v1
            """
        )
        attached = {name: each.attached_routes for name, each in listeners_of(mesh.compiled, "hosts").items()}
        assert attached == {
            "every": 7,
            "wild": 3,
            "exact": 2,
            "blue": 1,
            "same": 1,
        }
