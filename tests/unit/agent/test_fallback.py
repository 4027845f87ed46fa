"""Who is answered while control is away, and with what."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from weft.agent import held
from weft.agent.fallback import Offers, load, resources
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.model.view import Demand
from weft.xds.protocol import CLUSTER, ResourceSet
from weft.xds.wire import encode_response, varint

if TYPE_CHECKING:
    from pathlib import Path

    from weft.xds.fleet import Fleet

NODE = "sidecar/default/a"


def held_set() -> bytes:
    wire = discovery.Resource(name="one", version="v7").SerializeToString(deterministic=True)
    response = encode_response(CLUSTER, "", [wire], ())
    return varint(len(response)) + response


class FakeFleet:
    def __init__(self) -> None:
        self.changes: dict[str, Demand | None] = {}
        self.holding: dict[str, object] = {}
        self.offered: list[tuple[str, ResourceSet]] = []

    def take_changes(self) -> dict[str, Demand | None]:
        changes, self.changes = self.changes, {}
        return changes

    def held(self, node: str) -> object:
        return self.holding.get(node, {})

    def offer(self, node: str, found: ResourceSet, _demand: Demand, _revision: int) -> None:
        self.offered.append((node, found))


def test_resources_keep_their_versions_so_that_control_need_not_send_them_again() -> None:
    found = resources(held_set())
    assert found.of(CLUSTER)["one"].version == "v7"


def test_what_is_absent_or_damaged_is_not_known(tmp_path: Path) -> None:
    assert load(tmp_path, NODE) is None
    held.path_of(tmp_path, NODE).write_bytes(b"\x7f")
    assert load(tmp_path, NODE) is None


def test_a_proxy_that_comes_with_nothing_is_answered_and_one_that_holds_something_is_not(tmp_path: Path) -> None:
    for node in (NODE, "sidecar/default/b"):
        held.save(tmp_path, node, held_set())
    fleet = FakeFleet()
    offers = Offers(cast("Fleet", fleet), tmp_path)
    fleet.holding["sidecar/default/b"] = {CLUSTER: ("something",)}
    fleet.changes = {NODE: Demand(), "sidecar/default/b": Demand(), "sidecar/default/unknown": Demand()}
    offers.settle()
    assert [node for node, _ in fleet.offered] == [NODE]
    fleet.holding[NODE] = {CLUSTER: ("what it was given",)}
    fleet.changes = {NODE: Demand(hosts=frozenset({"reviews"}))}
    offers.settle()
    assert [node for node, _ in fleet.offered] == [NODE, NODE], "what it asks for later is answered too"
    fleet.changes = {NODE: None}
    offers.settle()
    fleet.changes = {NODE: Demand()}
    offers.settle()
    assert len(fleet.offered) == 2, "when it comes again it holds something"
