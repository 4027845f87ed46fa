"""Whole worlds for tests: the example of every kind beside all that it names, and everything that is built of them.

``varied`` changes documents at random, to values that users write and to values that nobody should.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

import yaml
from hypothesis import strategies as st

from tests.support.compiled import workload
from tests.support.documents import examples
from weft.api.decode import Decoded, decode
from weft.api.document import Document, read
from weft.dialects.compile import compile_world
from weft.dialects.values import Compiled, Input
from weft.envoy.build import Built, build
from weft.model.service import (
    Address,
    BoundPort,
    Capture,
    HostReport,
    Placement,
    Protocol,
    State,
    Workload,
    WorkloadPort,
)
from weft.model.view import Demand
from weft.model.viewing import view

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from weft.memo import Memo

AROUND: Final = """
apiVersion: v1
kind: Namespace
metadata: {name: canary}
---
apiVersion: v1
kind: Service
metadata: {name: shadow, namespace: shop}
spec: {selector: {app: reviews}, ports: [{name: http, port: 80, targetPort: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: reviews-v1, namespace: shop}
spec: {selector: {app: reviews, version: v1}, ports: [{name: http, port: 80, targetPort: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: reviews-v2, namespace: canary}
spec: {selector: {app: reviews}, ports: [{name: http, port: 80, targetPort: 9080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: plain, namespace: shop}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: reviews-v1, port: 80}]}]
"""
"""What the examples name and do not hold."""


def texts() -> dict[str, str]:
    """Every kind's example by its kind, in namespace ``shop`` where it says none, and what they need, as ``around``. The
    Gateway asks for no address, for it would get none, and admits its namespace.
    """
    found = examples()
    gateway = found["Gateway"].replace("  addresses:\n  - type: IPAddress\n    value: 127.0.0.1\n", "")
    namespace = found["Namespace"].replace("team: storefront", "team: storefront, stage: test")
    return {**found, "Gateway": gateway, "Namespace": namespace, "around": AROUND}


def documents(world: Iterable[str]) -> tuple[Document, ...]:
    found: list[Document] = []
    for number, text in enumerate(world):
        reading = read(text.encode(), f"/world/{number}.yaml", "shop")
        assert [str(problem) for problem in reading.problems] == []
        found.extend(reading.documents)
    return tuple(found)


def host() -> HostReport:
    """One machine with a workload for every placement and way of capture."""
    ports = tuple(
        WorkloadPort(
            number, name, protocol, Address(path=f"/run/{number}"), Address(ip="127.0.0.1", port=number), State.SERVING
        )
        for number, name, protocol in (
            (9080, "http", Protocol.HTTP),
            (9090, "grpc", Protocol.GRPC),
            (6379, "tcp", Protocol.TCP),
        )
    )
    bound = tuple(
        BoundPort(service=service, port=port, listen=Address(ip="127.0.0.1", port=21000 + index))
        for index, (service, port) in enumerate(
            (("reviews", 80), ("reviews", 9090), ("redis", 6379), ("storefront", 8080))
        )
    )
    made: list[Workload] = [
        workload(
            "inside",
            namespace="shop",
            labels={"app": "reviews", "version": "v1"},
            ports=ports,
            egress=Address(path="/run/egress"),
        ),
        workload(
            "bound",
            namespace="shop",
            labels={"app": "reviews"},
            ports=ports,
            capture=Capture.PORTS,
            bound=bound,
            outbound=None,
        ),
        workload("plain", namespace="shop", labels={"app": "redis"}, ports=ports, capture=Capture.PROXY),
        Workload(
            namespace="shop",
            name="egress",
            host="here",
            placement=Placement.EGRESS,
            outbound=Address(path="/run/egress"),
        ),
        Workload(
            namespace="shop",
            name="edge",
            host="here",
            placement=Placement.GATEWAY,
            gateway_ports=tuple(
                (port, Address(ip="127.0.0.1", port=port)) for port in (80, 443, 8000, 8080, 8443, 8444)
            ),
        ),
    ]
    return HostReport(host="here", workloads=tuple(made))


NAMES: Final = (
    *(
        "reviews",
        "reviews:80",
        "reviews:9090",
        "reviews.shop",
        "reviews.shop.svc.cluster.local:80",
        "shadow",
        "reviews-v1",
        "ratings:9080",
    ),
    *(
        "storefront:8080",
        "redis:6379",
        "api.example.com",
        "a.db.example.com:5432",
        "reviews-v2.canary",
        "zz",
        "reviews:81",
        "10.96.0.12",
    ),
)


def compiled(found: Iterable[Decoded], memo: Memo) -> Compiled:
    return compile_world(Input(tuple(found), (host(),)), memo)


def proxy(made: Compiled, node: str, memo: Memo) -> Built:
    """What one proxy of a world would hold once it has called everything."""
    addresses = [service.virtual_address for service in made.mesh.services.values()]
    clusters = [f"tcp|{address}:{port}" for address in addresses if address for port in (80, 5432, 6379)]
    # Who has no listener for calls by any name asks for none.
    asks = made.mesh.proxies[node].outbound is not None
    demand = Demand(frozenset(NAMES), frozenset(clusters)) if asks else Demand(frozenset(), frozenset())
    seen = view(made.mesh, node, demand, memo)
    assert seen is not None
    return build(seen, memo)


def proxies(made: Compiled, memo: Memo) -> dict[str, Built]:
    """What each proxy of a world would hold, by node."""
    return {node: proxy(made, node, memo) for node in sorted(made.mesh.proxies)}


TEXTS: Final = (
    *(
        "",
        " ",
        "a",
        "A",
        "reviews",
        "reviews-v1",
        "edge",
        "shop",
        "canary",
        "http",
        "x" * 63,
        "x" * 300,
        "a b",
        "é",
        "a\n",
        "a\0b",
        "null",
    ),
    *(
        "%",
        "%%",
        "%REQ(x)%",
        "%DOWNSTREAM_LOCAL_ADDRESS%",
        "{}",
        "{a}",
        "\\1",
        "$1",
        "*",
        "*.example.com",
        "*.com",
        "Example.COM",
        "a..b",
        ".",
    ),
    *(
        "/",
        "//",
        "/a",
        "/a/",
        "/a%2Fb",
        "/a?b#c",
        "/../a",
        "/{x}",
        "/é",
        "[",
        "(a|b)*",
        "\\d+",
        "a{1000}",
        "(?i)x",
        "^a$",
        "[0-9]+",
        ".*",
        "a|b",
    ),
    *(
        "0s",
        "1ms",
        "10s",
        "1h",
        "1h30m",
        "99999h",
        "99999999h",
        "-1s",
        "1",
        "GET",
        "get",
        "CONNECT",
        "OPTIONS",
        "TRACE",
        ":path",
        "host",
        "Host",
    ),
    *(
        "content-length",
        "connection",
        "te",
        "x-envoy-original-path",
        "x-forwarded-for",
        "set-cookie",
        "grpc-timeout",
        "https",
        "HTTPS",
        "TCP",
    ),
    *(
        "TLS",
        "UDP",
        "HTTP",
        "http2",
        "grpc",
        "tls",
        "kubernetes.io/h2c",
        "kubernetes.io/ws",
        "127.0.0.1",
        "0.0.0.0",
        "::1",
        "10.0.0.256",
        "240.0.0.1",
    ),
    *(
        "Exact",
        "PathPrefix",
        "RegularExpression",
        "ReplaceFullPath",
        "ReplacePrefixMatch",
        "Service",
        "Gateway",
        "Same",
        "All",
        "None",
        "ClientIP",
    ),
    *(
        "ExternalName",
        "Headless",
        "https://*.example.com",
        "*://x",
        "203.0.113.7:443",
        "[::1]:80",
        "example.com:0",
        "originate",
        "allowAny",
        "proxy",
    ),
)
NUMBERS: Final = (
    0,
    1,
    -1,
    2,
    3,
    79,
    80,
    81,
    100,
    101,
    204,
    301,
    308,
    418,
    503,
    600,
    1000,
    6379,
    8080,
    9080,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32,
    2**63,
)
_OTHERS: Final[tuple[object, ...]] = (None, True, False, 1.5, [], {}, [""], {"a": "b"})


PLAUSIBLE: Final[dict[str, tuple[object, ...]]] = {
    "value": (
        "/",
        "/a",
        "/a/b/",
        "/a%20b",
        "/a.b",
        "x",
        "%",
        "%REQ(host)%",
        "a b",
        "(a|b)+",
        "[0-9]{1,3}",
        "é",
        "",
        ".*",
    ),
    "type": (
        "Exact",
        "PathPrefix",
        "RegularExpression",
        "ReplaceFullPath",
        "ReplacePrefixMatch",
        "ClusterIP",
        "URLRewrite",
    ),
    "name": (
        "reviews",
        "reviews-v1",
        "shadow",
        "edge",
        "zz",
        "x-a",
        "X-A",
        "host",
        "http",
        ":path",
        "content-length",
        "te",
    ),
    "namespace": ("shop", "canary", "zz"),
    "port": (1, 80, 81, 443, 6379, 8080, 9080, 9090, 65535),
    "targetPort": (80, 9080, "http", "grpc", "zz"),
    "weight": (0, 1, 100, 1_000_000),
    "percent": (0, 1, 100),
    "numerator": (0, 1, 999),
    "denominator": (1, 100, 1_000_000),
    "statusCode": (301, 302, 303, 307, 308),
    "attempts": (0, 1, 10, 1000),
    "request": ("0s", "1ms", "1h", "99999h"),
    "backendRequest": ("0s", "1ms", "1h", "10s"),
    "backoff": ("1ms", "1s", "1h"),
    "hostname": ("a.example", "*.example.com", "reviews", "new.example.com", "x.y.z"),
    "replacePrefixMatch": ("/", "/x", "/x/", "/\\1", "/%", "/a b", ""),
    "replaceFullPath": ("/", "/x", "/\\1", "/%", "/a?b", "/a#b"),
    "scheme": ("http", "https"),
    "protocol": ("http", "http2", "grpc", "tcp", "HTTP", "HTTPS", "TLS", "TCP", "UDP"),
    "appProtocol": ("http", "kubernetes.io/h2c", "kubernetes.io/ws", "redis", "tcp", "https", "example.com/own"),
    "method": ("GET", "POST", "CONNECT", "OPTIONS"),
    "tls": ("originate", "none"),
    "capture": ("auto", "transparent", "proxy", "ports", "none"),
    "outboundTraffic": ("allowAny", "registryOnly"),
    "addressType": ("IPv4", "IPv6", "FQDN"),
    "clusterIP": ("None", "10.0.0.1", "240.0.0.1", "::1"),
    "sessionAffinity": ("None", "ClientIP"),
    "maxAge": (0, 1, 86400),
}
"""Values by their field: all of them are right somewhere."""


def paths(data: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value in a document."""
    found = [path] if path else []
    if isinstance(data, dict):
        found += [inner for key, value in data.items() for inner in paths(value, (*path, key))]
    elif isinstance(data, list):
        found += [inner for index, value in enumerate(data) for inner in paths(value, (*path, index))]
    return found


@st.composite
def varied(draw: st.DrawFn, text: str) -> str:
    """A document with one to four of its values changed, left out, repeated or exchanged."""
    data: Any = yaml.safe_load(text)
    for _ in range(draw(st.integers(1, 4))):
        choices = [
            path for path in paths(data) if path[0] in ("spec", "ports", "endpoints", "addressType") or "labels" in path
        ]
        if not choices:
            break
        *where, last = draw(st.sampled_from(choices))
        parent = _at(data, where)
        value = parent[last]
        change = draw(st.sampled_from(["plausible", "plausible", "plausible", "out", "twice", "other", "wild"]))
        if change == "plausible" and last in PLAUSIBLE:
            parent[last] = draw(st.sampled_from(PLAUSIBLE[str(last)]))
        elif change == "out":
            del parent[last]
        elif change == "twice" and isinstance(parent, list):
            parent.insert(draw(st.integers(0, len(parent))), copy.deepcopy(value))
        elif change == "wild":
            parent[last] = draw(_wild(value))
        else:
            parent[last] = copy.deepcopy(
                _at(data, draw(st.sampled_from([path for path in choices if path[-1] == last])))
            )
    return yaml.safe_dump(data, allow_unicode=True)


def _wild(value: object) -> st.SearchStrategy[object]:
    if isinstance(value, str):
        return st.sampled_from(TEXTS) | st.text(max_size=6)
    if isinstance(value, int) and not isinstance(value, bool):
        return st.sampled_from(NUMBERS)
    return st.sampled_from(_OTHERS)


def _at(data: Any, path: Sequence[str | int]) -> Any:  # noqa: ANN401 - plain data
    for step in path:
        data = data[step]
    return data


def decoded(text: str) -> tuple[Decoded, ...]:
    """What decodes of a text that may be bad. Every problem can be shown."""
    reading = read(text.encode(), "/world/varied.yaml", "shop")
    found = [decode(document) for document in reading.documents]
    problems = [*reading.problems, *(problem for each in found for problem in each.problems)]
    assert all(str(problem) for problem in problems)
    return tuple(each for each in found if each.object is not None)
