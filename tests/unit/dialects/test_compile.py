from __future__ import annotations

import msgspec

from tests.support.compiled import codes, compiled, objects, route, service, to_service, workload
from weft.api.decode import decode
from weft.api.document import read
from weft.dialects.compile import compile_world
from weft.dialects.values import Input
from weft.memo import Memo
from weft.model.service import HostReport
from weft.names import ServiceKey

ROUTE = route("r", f"{{parentRefs: [{{group: '', kind: Service, name: echo}}], rules: [{to_service('gone')}]}}")


def test_nothing_compiles_to_an_empty_mesh() -> None:
    made = compiled()
    assert (dict(made.mesh.services), made.problems, made.statuses) == ({}, (), ())


def test_an_object_with_an_error_disturbs_no_other() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: broken}\nspec: {ports: wrong}\n"
    broken = tuple(decode(document) for document in read(text.encode(), "x").documents)
    made = compile_world(Input((*broken, *objects(service("echo"))), ()), Memo())
    assert list(made.mesh.services) == [ServiceKey("default", "echo")]


def test_problems_are_sorted_by_place() -> None:
    made = compiled(service("echo"), ROUTE + ROUTE.replace("name: r,", "name: s,"))
    assert codes(made) == ["WFT-1203", "WFT-1203"]
    assert made.problems[0].origin.line < made.problems[1].origin.line


def test_a_line_that_moves_changes_the_problem_and_not_the_mesh() -> None:
    memo = Memo()
    first = compiled(service("echo"), ROUTE, memo=memo)
    memo.turn()
    moved = compiled(service("echo"), f"# a comment\n\n{ROUTE}", memo=memo)
    assert moved.problems[0].origin.line == first.problems[0].origin.line + 2
    assert moved.mesh.routes == first.mesh.routes
    place = (ServiceKey("default", "echo"), 80)
    assert moved.mesh.routes[place] is first.mesh.routes[place]


def test_a_host_that_reports_more_changes_endpoints_alone() -> None:
    memo = Memo()
    texts = objects(service("echo"), ROUTE)
    one = HostReport(host="a", workloads=(workload("echo"),))
    first = compile_world(Input(texts, (one,)), memo)
    memo.turn()
    second = compile_world(
        Input(texts, (one, HostReport(host="b", workloads=(workload("echo-2", labels={"app": "echo"}),)))), memo
    )
    place = (ServiceKey("default", "echo"), 80)
    assert (len(first.mesh.endpoints[place]), len(second.mesh.endpoints[place])) == (1, 2)
    assert second.mesh.services is first.mesh.services
    assert second.mesh.routes is first.mesh.routes
    assert second.problems is first.problems


def test_proxies_are_known_by_node_and_workloads_by_name() -> None:
    made = compiled(workloads=(workload("web"),))
    assert list(made.mesh.proxies) == ["sidecar/default/web"]
    assert list(made.mesh.workloads) == [("default", "web")]


def test_a_mesh_file_knows_its_folder_and_other_writers_have_none() -> None:
    text = "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {name: m}\nspec: {services: {a: {port: 80, command: x}}}\n"
    (process,) = compiled(text).mesh.placements.processes
    assert process.directory == "/shop"
    (decoded,) = tuple(decode(document) for document in read(text.encode(), "api").documents)
    (elsewhere,) = compile_world(Input((decoded,), ()), Memo()).mesh.placements.processes
    assert elsewhere.directory == ""
    assert msgspec.structs.replace(elsewhere, directory="/shop") == process


def test_a_host_that_joined_stands_behind_nothing_that_was_not_placed_there() -> None:
    """Whenever the mesh is compiled, whatever was true when its report came."""
    texts, place = objects(service("echo")), (ServiceKey("default", "echo"), 80)
    claim = HostReport(host="bert", address="10.0.0.2", workloads=(workload("echo-9", labels={"app": "echo"}),))
    assert place in compile_world(Input(texts, (claim,)), Memo()).mesh.endpoints
    made = compile_world(Input(texts, (msgspec.structs.replace(claim, joined=True),)), Memo()).mesh
    assert place not in made.endpoints
    assert (dict(made.workloads), dict(made.proxies)) == ({}, {})
