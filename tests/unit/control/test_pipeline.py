"""The stages in a row: what they make of a small world, and that equal worlds give the same objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.control import LOST_ROUTE, SHOP, workload, world
from weft.control.pipeline import Pipeline, decode_record
from weft.model.service import State
from weft.model.view import Demand
from weft.names import ServiceKey
from weft.xds.protocol import CLUSTER, ENDPOINTS, VIRTUAL_HOST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.envoy.build import Built
    from weft.model.mesh import Mesh

NODE = "sidecar/default/web-1"
ASKS = {NODE: Demand(hosts=frozenset({"reviews"}))}


def build_all(pipeline: Pipeline, mesh: Mesh, demands: Mapping[str, Demand]) -> dict[str, Built]:
    """As the control loop: what was not built of now is forgotten."""
    built = pipeline.build(mesh, demands)
    pipeline.forget()
    return built


def test_a_world_becomes_a_mesh_with_its_services_and_endpoints() -> None:
    mesh = Pipeline().compile(world(SHOP, workload("web-1"), workload("reviews-1"))).mesh
    assert set(mesh.services) == {ServiceKey("default", "web"), ServiceKey("default", "reviews")}
    assert [str(each.address) for each in mesh.endpoints[ServiceKey("default", "reviews"), 80]] == [
        "/run/weft/reviews-1.sock"
    ]


def test_a_proxy_gets_what_it_asked_for_and_nothing_else() -> None:
    pipeline = Pipeline()
    mesh = pipeline.compile(world(SHOP, workload("web-1"), workload("reviews-1"))).mesh
    built = build_all(pipeline, mesh, ASKS)[NODE]
    assert set(built.resources.of(VIRTUAL_HOST)) == {"outbound/reviews"}
    assert "outbound|80||reviews.default.svc.cluster.local" in built.resources.of(CLUSTER)
    assert "outbound|80||web.default.svc.cluster.local" not in built.resources.of(CLUSTER)


def test_a_proxy_that_no_agent_registered_is_left_as_it_is() -> None:
    pipeline = Pipeline()
    mesh = pipeline.compile(world()).mesh
    assert build_all(pipeline, mesh, {"sidecar/default/stranger": Demand()}) == {}


def test_an_equal_world_gives_the_same_resources_as_objects() -> None:
    pipeline = Pipeline()
    first = build_all(pipeline, pipeline.compile(world(SHOP, workload("web-1"), workload("reviews-1"))).mesh, ASKS)
    again = build_all(pipeline, pipeline.compile(world(SHOP, workload("web-1"), workload("reviews-1"))).mesh, ASKS)
    for type_url, named in first[NODE].resources.types.items():
        for name, resource in named.items():
            assert again[NODE].resources.of(type_url)[name] is resource


def test_an_endpoint_that_goes_changes_the_endpoints_and_nothing_else() -> None:
    pipeline = Pipeline()
    before = build_all(pipeline, pipeline.compile(world(SHOP, workload("web-1"), workload("reviews-1"))).mesh, ASKS)
    failing = workload("reviews-1", state=State.FAILING)
    after = build_all(pipeline, pipeline.compile(world(SHOP, workload("web-1"), failing)).mesh, ASKS)
    changed = {
        (type_url, name)
        for type_url, named in before[NODE].resources.types.items()
        for name, resource in named.items()
        if after[NODE].resources.of(type_url)[name] is not resource
    }
    assert changed == {(ENDPOINTS, "outbound|80||reviews.default.svc.cluster.local")}


def test_a_preview_leaves_what_stands_untouched() -> None:
    pipeline = Pipeline()
    standing = pipeline.compile(world(SHOP, workload("web-1"), workload("reviews-1")))
    other = pipeline.preview(world("", workload("web-1")))
    assert not other.mesh.services
    assert (
        pipeline.compile(world(SHOP, workload("web-1"), workload("reviews-1"))).mesh.services == standing.mesh.services
    )


def test_a_problem_of_a_stored_object_names_the_line_its_writer_wrote() -> None:
    problems = Pipeline().compile(world(SHOP + "---" + LOST_ROUTE)).problems
    (problem,) = [each for each in problems if each.ref is not None and each.ref.name == "lost"]
    text = (SHOP + "---" + LOST_ROUTE).splitlines()
    assert "nowhere" in text[problem.origin.line - 1]
    assert text[problem.origin.line - 1][problem.origin.column - 1 :].startswith("nowhere")


def test_a_stored_object_is_decoded_with_its_own_name() -> None:
    decoded = [decode_record(record) for record in world().records]
    assert [each.document.ref.name for each in decoded] == ["reviews", "web"]
    assert all(each.object is not None and each.problems == () for each in decoded)
