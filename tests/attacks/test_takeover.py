"""F8: an object of namespace ``evil`` that would take over what belongs to namespace ``shop``: refused, and nothing changes.

Each attack adds objects of ``evil`` to a world in which ``shop`` was first, and compares what every proxy of ``shop`` would be
given with and without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.compiled import codes, compiled, edge, gateway, route, service, to_service, workload
from tests.support.figures import figure
from weft.envoy.build import build
from weft.memo import Memo
from weft.model.view import Demand
from weft.model.viewing import view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.dialects.values import Compiled

OLD: Final = "2025-01-01T00:00:00Z"
NEW: Final = "2026-01-01T00:00:00Z"
SHOP: Final = (
    service("front", "shop", created=OLD)
    + service("pay", "shop", created=OLD)
    + gateway("edge", "[{name: http, port: 80, protocol: HTTP, hostname: shop.example.com}]", "shop")
    + route("site", f"{{parentRefs: [{{name: edge}}], rules: [{to_service('front')}]}}", "shop", created=OLD)
    + f"""
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: shop, namespace: shop, creationTimestamp: '{OLD}'}}
spec:
  external:
    bank: {{hostnames: [api.bank.example, "*.db.example.com", bank.com], ports: [{{port: 443, protocol: tcp}}]}}
---
"""
)
RUNNING: Final = (
    workload("front", namespace="shop"),
    workload("pay", namespace="shop"),
    workload("robber", namespace="evil", labels={"app": "robber"}),
    edge("edge", 80, namespace="shop"),
)
ASKED: Final = (
    *(
        "pay",
        "pay.shop",
        "pay.shop.svc.cluster.local",
        "pay:80",
        "front",
        "refund",
        "refund.shop",
        "refund.shop.svc.cluster.local",
    ),
    *("api.bank.example:443", "main.db.example.com:443", "bank.com:443", "8.8.8.8:53", "169.254.169.254:80"),
)
ROBBER: Final = service("robber", "evil", created=NEW)


def outside(*hosts: str) -> str:
    return f"""
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: evil, namespace: evil, creationTimestamp: '{NEW}'}}
spec:
  external:
    trap: {{hostnames: {list(hosts)}, ports: [{{port: 443, protocol: tcp}}, {{port: 80}}], endpoints: ["192.0.2.6:80"]}}
---
"""


def claim(address: str) -> str:
    return service("trap", "evil", created=OLD, extra=f'  clusterIP: "{address}"')


def victim() -> str:
    """The virtual address of ``pay.shop``: anybody can work it out."""
    return next(each.virtual_address for each in compiled(SHOP).mesh.services.values() if str(each.key) == "pay.shop")


REACHING: Final = """
parentRefs: [{group: '', kind: Service, name: robber}]
rules: [{backendRefs: [{name: pay, namespace: shop, port: 80}]}]
""".replace("\n", "\n  ")
"""Two lines of a spec, as deep as one is."""
STOLEN: Final[Mapping[str, tuple[str, str]]] = {
    "a route for another namespace's service": (
        route(
            "steal",
            f"{{parentRefs: [{{group: '', kind: Service, name: pay, namespace: shop}}], rules: [{to_service('robber')}]}}",
            "evil",
            created=OLD,
        ),
        "",
    ),
    "a route on another namespace's Gateway": (
        route(
            "steal",
            f"{{parentRefs: [{{name: edge, namespace: shop}}], rules: [{to_service('robber')}]}}",
            "evil",
            created=OLD,
        ),
        "WFT-1222",
    ),
    "a backend in another namespace without a grant": (
        route(
            "reach",
            REACHING,
            "evil",
        ),
        "WFT-1205",
    ),
    "a Gateway with another namespace's host name": (
        gateway("edge", "[{name: http, port: 80, protocol: HTTP, hostname: shop.example.com}]", "evil"),
        "",
    ),
    "a grant that one gives oneself": (
        """
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: take, namespace: evil}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: evil}]
  to: [{group: "", kind: Service}]
---
"""
        + route(
            "reach",
            REACHING,
            "evil",
        ),
        "WFT-1205",
    ),
    "an EndpointSlice that names another namespace's service": (
        """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: pay-1, namespace: evil, labels: {kubernetes.io/service-name: pay}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.6]}]
ports: [{name: http, port: 80}]
---
""",
        "",
    ),
    **{
        f"an external service called {host}": (outside(host), "WFT-1214")
        for host in (
            *("pay", "pay.shop", "pay.shop.svc.cluster.local", "*.shop.svc.cluster.local", "refund", "refund.shop"),
            *("api.bank.example", "main.db.example.com", "*.main.db.example.com", "bank.com", "*.com"),
        )
    },
    "a service that spells another namespace's external host": (service("bank", "com", created=NEW), "WFT-1214"),
    "the virtual address of another namespace's service": (claim("VICTIM"), "WFT-1213"),
    "an address of the internet": (claim("8.8.8.8"), "WFT-1213"),
    "the address of the metadata service": (claim("169.254.169.254"), "WFT-1213"),
}


def given(made: Compiled, node: str) -> dict[tuple[str, str], str]:
    """What one proxy would hold, by type and name, as versions."""
    asks = not node.startswith("gateway")
    addresses = (victim(), "8.8.8.8", "169.254.169.254")
    clusters = frozenset(f"tcp|{address}:{port}" for address in addresses for port in (53, 80, 443))
    demand = Demand(frozenset(ASKED), clusters) if asks else Demand()
    seen = view(made.mesh, node, demand, Memo())
    assert seen is not None
    resources = build(seen, Memo()).resources
    return {(kind, name): each.version for kind, of_kind in resources.types.items() for name, each in of_kind.items()}


@pytest.mark.parametrize("attack", STOLEN)
def test_what_belongs_to_another_namespace_stays_as_it_was(attack: str) -> None:
    text, code = STOLEN[attack]
    before = compiled(SHOP, ROBBER, workloads=RUNNING)
    after = compiled(SHOP, ROBBER, text.replace("VICTIM", victim()), workloads=RUNNING)
    assert codes(before) == []
    assert not code or code in codes(after)
    proxies = ("sidecar/shop/front", "sidecar/shop/pay", "gateway/shop/edge")
    changed = [
        (node, name) for node in proxies for name, version in given(before, node).items() ^ given(after, node).items()
    ]
    figure("F8", f"{attack}: {len(changed)} resources of 3 proxies changed, {codes(after) or 'nothing to refuse'}")
    assert changed == []


def test_a_route_of_a_caller_s_own_namespace_holds_for_that_namespace_only() -> None:
    """So that the first test cannot pass by ignoring such routes. Source: GEP-1226, consumer routes."""
    text = STOLEN["a route for another namespace's service"][0]
    before = given(compiled(SHOP, ROBBER, workloads=RUNNING), "sidecar/evil/robber")
    after = given(compiled(SHOP, ROBBER, text, workloads=RUNNING), "sidecar/evil/robber")
    assert before != after
