"""Compiling through one memo gives what a fresh compile gives, whatever the history and the order of the input."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.compiled import gateway, objects, route, service, workload
from tests.support.repository import ROOT
from weft.dialects.compile import compile_world
from weft.dialects.values import Compiled, Input
from weft.memo import Memo
from weft.model.service import HostReport, State
from weft.model.view import Demand
from weft.model.viewing import view

if TYPE_CHECKING:
    from weft.api.decode import Decoded

_NAMES = ("a", "b", "c")


def _route(name: str, parent: str, backend: str, weight: int) -> str:
    spec = f"{{parentRefs: [{parent}], rules: [{{backendRefs: [{{name: {backend}, port: 80, weight: {weight}}}]}}]}}"
    return route(name, spec)


def _pool() -> tuple[Decoded, ...]:
    """Every object that histories choose from, some of them several times under one name with different content."""
    texts = [service(name) for name in _NAMES] + [service("a", port=81), service("a", "far")]
    for name in _NAMES:
        parent = f"{{group: '', kind: Service, name: {name}}}"
        texts += [
            _route(name, parent, "a", 1),
            _route(name, parent, "missing", 2),
            _route(name, "{name: edge}", "b", 3),
        ]
    texts += [
        gateway("edge", "[{name: http, port: 80, protocol: HTTP}]"),
        gateway("edge", "[{name: http, port: 81, protocol: HTTP}]"),
    ]
    for name in _NAMES:
        texts.append(
            f"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
            f"metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}\n"
            f"ports: [{{name: http, port: 8080}}]\nendpoints: [{{addresses: [10.0.0.1]}}, {{addresses: [10.0.0.2]}}]\n---\n"
        )
    texts.append(
        "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {name: m}\n"
        "spec: {outboundTraffic: allowAny, services: {a: {port: 80, command: x, needs: [b, zz], expose: {port: 9000}}},"
        " external: {out: {hostnames: ['*.example.com'], ports: [{port: 80, protocol: http}]}}}\n---\n"
    )
    return tuple(each for text in texts for each in objects(text))


POOL = _pool()
CHOICES = st.lists(st.integers(0, len(POOL) - 1), max_size=12)
STATES = st.lists(st.sampled_from(State), max_size=3)


def _input(chosen: list[int], states: list[State]) -> Input:
    by_ref = {POOL[at].document.ref: POOL[at] for at in chosen}
    workloads = []
    for name, state in zip(_NAMES, states, strict=False):
        made = workload(f"{name}-0", labels={"app": name})
        (port,) = made.ports
        port = type(port)(port.number, port.name, port.protocol, port.listen, port.application, state)
        workloads.append(workload(f"{name}-0", labels={"app": name}, ports=(port,)))
    return Input(tuple(by_ref.values()), (HostReport(host="here", workloads=tuple(workloads)),))


DEMAND = Demand(
    frozenset({"a", "b.default:80", "c", "zz", "x.example.com"}),
    frozenset({"outbound|80||a.default.svc.cluster.local"}),
)


def _everything(world: Input, memo: Memo) -> tuple[object, ...]:
    made = compile_world(world, memo)
    mesh = made.mesh
    views = [
        view(mesh, node, demand, memo)
        for node in sorted(mesh.proxies)
        for demand in (DEMAND, Demand(frozenset({"a", "b"})))
    ]
    return (*_plain(made), views)


def _plain(made: Compiled) -> tuple[object, ...]:
    mesh = made.mesh
    mappings = (
        mesh.services,
        mesh.routes,
        mesh.endpoints,
        mesh.external_hosts,
        mesh.addresses,
        mesh.gateways,
        mesh.proxies,
    )
    return (*(dict(each) for each in mappings), mesh.placements, mesh.outbound_traffic, made.problems, made.statuses)


@given(st.lists(st.tuples(CHOICES, STATES), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_history_through_one_memo_equals_a_fresh_compile(history: list[tuple[list[int], list[State]]]) -> None:
    memo = Memo()
    for chosen, states in history:
        world = _input(chosen, states)
        remembered = _everything(world, memo)
        memo.turn()
        assert remembered == _everything(world, Memo())


@given(CHOICES, STATES, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_input_changes_nothing(chosen: list[int], states: list[State], random: object) -> None:
    world = _input(chosen, states)
    shuffled = list(world.objects)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    one = _everything(world, Memo())
    other = _everything(Input(tuple(shuffled), world.hosts), Memo())
    assert repr(one) == repr(other)


@given(CHOICES, STATES)
@settings(max_examples=30, deadline=None)
def test_an_equal_input_gives_the_same_objects(chosen: list[int], states: list[State]) -> None:
    memo = Memo()
    first = compile_world(_input(chosen, states), memo).mesh
    memo.turn()
    second = compile_world(_input(chosen, states), memo).mesh
    assert first.services is second.services
    assert first.routes is second.routes
    assert first.endpoints is second.endpoints
    assert first.gateways is second.gateways


def test_pythons_hash_seed_changes_nothing() -> None:
    program = (
        "from tests.property.test_compile import POOL, _everything, _input\n"
        "from weft.memo import Memo\nfrom weft.model.service import State\nfrom hashlib import sha256\n"
        "made = repr(_everything(_input(list(range(len(POOL))), [State.SERVING] * 3), Memo()))\n"
        "print(sha256(made.encode()).hexdigest())"
    )
    seen = set()
    for seed in ("0", "1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        seen.add(run.stdout)
    assert len(seen) == 1
