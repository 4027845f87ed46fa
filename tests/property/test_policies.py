"""Random policies of every kind: they are compiled without a crash, to the same bytes in any order and with any history."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.compiled import bare, gateway, service
from tests.support.policies import both, mesh, tcp_service
from tests.support.repository import ROOT
from weft.api.decode import decode
from weft.api.document import read
from weft.dialects.compile import compile_world
from weft.dialects.values import Compiled, Input
from weft.memo import Memo
from weft.model.service import HostReport
from weft.model.trust import Action, Shape, TlsMode, Trust

if TYPE_CHECKING:
    from weft.api.decode import Decoded

NAMES = st.sampled_from(["a", "b", "c"])
NAMESPACES = st.sampled_from(["default", "shop", "istio-system", "weft-system"])
TEXTS = st.sampled_from(
    ["*", "a*", "*a", "a", "a*b", "GET", "/a", "/{*}/a", "cluster.local/ns/default/sa/echo", "x/y", ""]
)
BLOCKS = st.sampled_from(["10.0.0.0/8", "10.0.0.1", "fd00::/8", "::1", "nonsense"])
PORTS = st.sampled_from(["80", "8080", "6379", "0", "http"])
KEYS = st.sampled_from(
    [
        "request.headers[A]",
        "request.auth.claims[a][b]",
        "source.ip",
        "destination.port",
        "connection.sni",
        "source.principal",
        "x",
    ]
)
LABELS = st.sampled_from([{}, {"app": "echo"}, {"app": "other"}, {"app": "nobody"}])


def lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(values, max_size=3)


def fields(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=known)


SOURCE = fields(
    principals=lists(TEXTS),
    notPrincipals=lists(TEXTS),
    requestPrincipals=lists(TEXTS),
    namespaces=lists(TEXTS),
    serviceAccounts=lists(TEXTS),
    ipBlocks=lists(BLOCKS),
    notRemoteIpBlocks=lists(BLOCKS),
)
OPERATION = fields(
    hosts=lists(TEXTS),
    ports=lists(PORTS),
    notPorts=lists(PORTS),
    methods=lists(TEXTS),
    paths=lists(TEXTS),
    notPaths=lists(TEXTS),
)
RULE = st.fixed_dictionaries(
    {},
    optional={
        "from": st.lists(st.builds(lambda source: {"source": source}, SOURCE), max_size=2),
        "to": st.lists(st.builds(lambda operation: {"operation": operation}, OPERATION), max_size=2),
        "when": st.lists(fields(key=KEYS, values=lists(TEXTS), notValues=lists(BLOCKS)), max_size=2),
    },
)
TARGET = st.sampled_from(
    [
        {"kind": "Service", "name": "echo"},
        {"kind": "Service", "name": "gone"},
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"},
        {"group": "gateway.networking.k8s.io", "kind": "GatewayClass", "name": "weft"},
    ]
)
WHERE = {
    "selector": st.builds(lambda labels: {"matchLabels": labels}, LABELS),
    "targetRefs": st.lists(TARGET, max_size=2),
}
MODES = st.sampled_from(["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]).map(lambda mode: {"mode": mode})
AUTHORIZATION = fields(
    **WHERE,
    action=st.sampled_from(["ALLOW", "DENY", "AUDIT", "CUSTOM"]),
    rules=st.lists(RULE, max_size=3),
    provider=st.sampled_from([{"name": "opa"}, {"name": "ask"}, {"name": "gone"}]),
)
PEER = fields(
    selector=WHERE["selector"], mtls=MODES, portLevelMtls=st.dictionaries(st.sampled_from(["8080", "6379"]), MODES)
)
ISSUER = st.fixed_dictionaries(
    {"issuer": st.sampled_from(["https://a.example", "b"])},
    optional={"jwksUri": st.just("https://a.example/k"), "audiences": lists(TEXTS), "fromCookies": lists(TEXTS)},
)
TOKENS = fields(**WHERE, jwtRules=st.lists(ISSUER, max_size=2))
TARGETS = st.fixed_dictionaries(
    {
        "destination": st.fixed_dictionaries(
            {"name": NAMES}, optional={"namespace": NAMESPACES, "port": st.sampled_from([80, 8080])}
        ),
        "sources": st.lists(st.fixed_dictionaries({"name": NAMES}), min_size=1, max_size=2),
        "rules": st.lists(
            st.fixed_dictionaries({"kind": st.sampled_from(["TCPRoute", "HTTPRouteGroup"]), "name": NAMES}),
            min_size=1,
            max_size=2,
        ),
    }
)
GROUP = st.just(
    {"matches": [{"name": "a", "pathRegex": "/a"}, {"name": "b", "methods": ["GET"], "headers": {"a": "b"}}]}
)
ROUTE = fields(matches=fields(ports=st.lists(st.sampled_from([8080, 6379]), max_size=2)))
SPECS = {
    "AuthorizationPolicy": ("security.istio.io/v1", AUTHORIZATION),
    "PeerAuthentication": ("security.istio.io/v1", PEER),
    "RequestAuthentication": ("security.istio.io/v1", TOKENS),
    "TrafficTarget": ("access.smi-spec.io/v1alpha3", TARGETS),
    "HTTPRouteGroup": ("specs.smi-spec.io/v1alpha4", GROUP),
    "TCPRoute": ("specs.smi-spec.io/v1alpha4", ROUTE),
}
ANNOTATIONS = st.sampled_from([{}, {"istio.io/dry-run": "true"}, {"weft.dev/expires": "2030-01-01T00:00:00Z"}])


def documents(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    version, spec = SPECS[kind]
    return st.builds(
        lambda name, namespace, annotations, spec: {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
            "spec": spec,
        },
        NAMES,
        NAMESPACES,
        ANNOTATIONS,
        spec,
    )


WORLDS = st.lists(
    st.one_of(*[documents(kind) for kind in SPECS], documents("AuthorizationPolicy")),
    max_size=12,
    unique_by=lambda each: (each["kind"], each["metadata"]["namespace"], each["metadata"]["name"]),
)

AROUND = "".join(
    (
        service("echo"),
        tcp_service("redis", "echo"),
        service("opa"),
        gateway("edge", "[{name: http, port: 80, protocol: HTTP}]"),
        mesh(
            "{providers: {opa: {grpc: {service: opa, port: 80}}, ask: {http: {service: opa, port: 80}}},"
            " trustDomainAliases: [old.example]}",
            "{later: {port: 8080, command: a}}",
        ),
    )
)
HOSTS = (
    HostReport(
        host="here",
        workloads=(
            both("echo", service_account="a"),
            both("other", namespace="shop"),
            bare(both("bare", labels=(("app", "echo"),))),
        ),
        address="192.0.2.1",
    ),
)


def decoded(world: list[dict[str, Any]]) -> tuple[Decoded, ...]:
    texts = (AROUND, *(json.dumps(each) for each in world))
    found = [
        document for number, text in enumerate(texts) for document in read(text.encode(), f"/{number}.yaml").documents
    ]
    return tuple(sorted((decode(document) for document in found), key=lambda each: each.document.ref))


def shown(made: Compiled) -> bytes:
    """Everything that compiling says about security, as bytes."""
    mesh = made.mesh
    return msgspec.json.encode(
        {
            "guards": {"/".join(name): guards for name, guards in sorted(mesh.guards.items())},
            "gateways": {"/".join(name): guard for name, guard in sorted(mesh.gateway_guards.items())},
            "peers": {f"{key}:{port}": peers for (key, port), peers in sorted(mesh.peers.items())},
            "endpoints": {f"{key}:{port}": found for (key, port), found in sorted(mesh.endpoints.items())},
            "problems": [(each.code, str(each.ref), each.field, each.message) for each in made.problems],
            "statuses": sorted(made.statuses, key=lambda each: each.ref),
            "keys": made.wanted_keys,
        }
    )


def compiled(objects: tuple[Decoded, ...], memo: Memo | None = None) -> Compiled:
    return compile_world(Input(objects, HOSTS, Trust(banned=("spiffe://local/x",))), memo or Memo())


@settings(max_examples=150, deadline=None)
@given(WORLDS, st.randoms(use_true_random=False))
def test_policies_compile_to_the_same_bytes_in_any_order(world: list[dict[str, Any]], random: Any) -> None:  # noqa: ANN401 - hypothesis has no type
    objects = list(decoded(world))
    first = compiled(tuple(objects))
    random.shuffle(objects)
    assert shown(compiled(tuple(objects))) == shown(first)
    for guards in first.mesh.guards.values():
        for number, guard in guards:
            by_grpc = any(policy.action is Action.CUSTOM for policy in guard.policies)
            assert number == 8080 or by_grpc or not guard.needs_http
            assert all(policy.provider is not None for policy in guard.policies if policy.action is Action.CUSTOM)
    for target, peers in first.mesh.peers.items():
        assert (peers.shape is Shape.PLAIN) == (not peers.identities), target
    disabled = {
        name for name, guards in first.mesh.guards.items() if any(guard.mode is TlsMode.DISABLE for _, guard in guards)
    }
    for endpoints in first.mesh.endpoints.values():
        for endpoint in endpoints:
            assert endpoint.name or tuple(endpoint.workload.split("/")) in disabled | {("default", "bare")}


@settings(max_examples=60, deadline=None)
@given(st.lists(WORLDS, min_size=2, max_size=4))
def test_a_history_of_policies_through_one_memo_gives_what_a_fresh_build_gives(
    history: list[list[dict[str, Any]]],
) -> None:
    memo = Memo()
    for world in history:
        objects = decoded(world)
        assert shown(compiled(objects, memo)) == shown(compiled(objects))
        memo.turn()


def test_every_process_compiles_policies_to_the_same_bytes() -> None:
    code = (
        "from tests.property import test_policies as t; from tests.support.documents import examples; import hashlib, json;"
        "from weft.api.decode import decode; from weft.api.document import read;"
        "texts = [t.AROUND, *examples().values()];"
        "found = tuple(decode(d) for n, x in enumerate(texts) for d in read(x.encode(), f'/{n}').documents);"
        "print(hashlib.sha256(t.shown(t.compiled(found))).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(digests) == 1
