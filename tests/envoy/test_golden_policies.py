"""Golden policies: what each kind comes to stands in a file, and the real Envoy accepts everything that is built of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.support.compiled import edge, gateway, service
from tests.support.golden import Golden, cases
from tests.support.policies import both, tcp_service
from tests.support.static import refusal
from weft.api.decode import decode
from weft.api.document import read
from weft.dialects.compile import compile_world
from weft.dialects.values import Compiled, Input
from weft.envoy.build import build
from weft.memo import Memo
from weft.model.service import HostReport
from weft.model.trust import Trust
from weft.model.view import Demand
from weft.model.viewing import view

if TYPE_CHECKING:
    from pathlib import Path

POLICIES = [case for case in cases() if case.startswith("policy-")]
AROUND = "".join(
    (
        service("echo"),
        service("web"),
        service("opa"),
        tcp_service("redis", "echo"),
        gateway("edge", "[{name: http, port: 80, protocol: HTTP}]"),
    )
)
HOST = HostReport(
    host="here", workloads=(both("echo", service_account="echo"), both("web", service_account="web"), edge("edge", 80))
)
DEMAND = Demand(hosts=frozenset({"echo", "web", "redis:6379"}))


def compiled(golden: Golden, case: str) -> Compiled:
    texts = (AROUND.encode(), golden.input(case))
    documents = [each for number, text in enumerate(texts) for each in read(text, f"{number}.yaml").documents]
    objects = tuple(decode(document) for document in documents)
    assert [str(problem) for each in objects if each.object is None for problem in each.problems] == []
    return compile_world(Input(objects, (HOST,), Trust(federated=("partner.example",))), Memo())


@pytest.mark.parametrize("case", POLICIES)
def test_policies_come_to_what_their_golden_file_says(golden: Golden, case: str) -> None:
    made = compiled(golden, case)
    shown = {
        "guards": {"/".join(name): dict(guards) for name, guards in made.mesh.guards.items()},
        "gateways": {"/".join(name): guard for name, guard in made.mesh.gateway_guards.items()},
        "peers": {
            f"{key}:{port}": {**msgspec.structs.asdict(peers), "choosy": [number for number, _ in peers.choosy]}
            for (key, port), peers in made.mesh.peers.items()
        },
        "endpoints": {
            f"{key}:{port}": [each.name for each in found] for (key, port), found in made.mesh.endpoints.items()
        },
        "keys": made.wanted_keys,
        "keys_from": made.keys_from,
    }
    golden.check(
        case, "mesh.json", json.dumps(msgspec.to_builtins(shown, str_keys=True), indent=1, sort_keys=True) + "\n"
    )
    golden.check(case, "problems.txt", "".join(f"{problem}\n" for problem in made.problems))


@pytest.mark.envoy
@pytest.mark.parametrize("node", ["sidecar/default/echo", "sidecar/default/web", "gateway/default/edge"])
@pytest.mark.parametrize("case", POLICIES)
def test_envoy_accepts_what_golden_policies_build(
    golden: Golden, case: str, node: str, envoy_binary: Path, tmp_path: Path
) -> None:
    found = view(compiled(golden, case).mesh, node, DEMAND, Memo())
    assert found is not None
    made = build(found, Memo())
    assert [str(problem) for problem in made.problems] == []
    assert refusal(envoy_binary, made, tmp_path) == ""
