"""Documents to objects: kinds, all problems with their places, and the pages of the reference."""

from __future__ import annotations

import pytest

from tests.support.documents import KIND_PAGES, accepted, blocks, brief, decoded, document, examples, refused
from tests.support.repository import ROOT
from weft.api.decode import MODELS, decode, has_errors, model_of
from weft.api.document import read, stored
from weft.api.include import refuse
from weft.api.kinds import KINDS
from weft.errors import CODES
from weft.values import Origin

ERROR_PAGES = ROOT / "docs" / "reference" / "errors"


def test_models_and_kinds_are_one_list() -> None:
    assert [model.__name__ for model in MODELS] == [kind.kind for kind in KINDS]
    assert [type(accepted(text)) for text in (examples()[kind.kind] for kind in KINDS)] == [
        model_of(kind) for kind in KINDS
    ]


def test_every_kind_has_a_page_whose_example_is_accepted_in_each_version() -> None:
    assert set(examples()) == {kind.kind for kind in KINDS}
    for kind in KINDS:
        for version in kind.api_versions:
            accepted(examples()[kind.kind].replace(kind.api_version, version, 1))
    index = (KIND_PAGES / "README.md").read_text()
    assert [kind.kind for kind in KINDS if f"({kind.kind}.md)" not in index] == []


def test_objects_are_values_that_can_be_keys() -> None:
    for text in examples().values():
        assert hash(accepted(text)) == hash(accepted(text))
        assert accepted(text) == accepted(text)


PRINTED = [
    code
    for code in sorted(CODES)
    if code[:6] in ("WFT-10", "WFT-11", "WFT-13") and code not in ("WFT-1001", "WFT-1009")
]


@pytest.mark.parametrize("code", PRINTED)
def test_the_example_of_an_error_page_prints_what_the_page_shows(code: str) -> None:
    page = (ERROR_PAGES / f"{code}.md").read_text()
    reading = read(blocks(page, "yaml")[0].replace("\\a", "\a").encode(), "shop.yaml")
    problems = [*reading.problems]
    for found in reading.documents:
        problems += [*(refuse(found) if code == "WFT-1309" else ()), *decode(found).problems]
    assert "\n".join(map(str, problems)) + "\n" == blocks(page, "text")[0]


@pytest.mark.parametrize(
    ("text", "field", "remedy"),
    [
        ("apiVersion: v1\nkind: Servce\nmetadata: {name: a}", "kind", "Write kind: Service"),
        ("apiVersion: v1\nkind: Xyzzy\nmetadata: {name: a}", "kind", "Remove the object"),
        ("apiVersion: v2\nkind: Service\nmetadata: {name: a}", "apiVersion", "Write apiVersion: v1"),
        (
            "apiVersion: gateway.networking.k8s.io/v2\nkind: HTTPRoute",
            "apiVersion",
            "Write apiVersion: gateway.networking.k8s.io/v1",
        ),
        ("apiVersion: weft/v1alpha1\nkind: Mesh", "apiVersion", "Write apiVersion: weft.dev/v1alpha1"),
        ("apiVersion: apps/v1\nkind: Deployment", "kind", "weft reads AuthorizationPolicy, EndpointSlice"),
    ],
)
def test_an_unknown_kind_names_the_nearest_and_all(text: str, field: str, remedy: str) -> None:
    (problem,) = refused(text)
    assert (problem.code, problem.field) == ("WFT-1101", field)
    assert remedy in problem.remedy


def test_a_document_says_what_it_is() -> None:
    assert brief(refused("metadata: {name: a}")) == [("WFT-1104", "apiVersion"), ("WFT-1104", "kind")]
    assert brief(refused("apiVersion: 1\nkind: [Service]")) == [("WFT-1103", "apiVersion"), ("WFT-1103", "kind")]
    assert brief(refused("apiVersion: v1\nkind: ServiceAccount")) == [("WFT-1104", "metadata")]
    assert brief(refused("apiVersion: v1\nkind: ServiceAccount\nmetadata: {}")) == [("WFT-1104", "metadata.name")]


def test_problems_are_all_there_in_the_order_of_the_text() -> None:
    text = """\
apiVersion: v1
kind: Service
metadata:
  lables: {}
  name: A
spec:
  type: LoadBalanced
  ports:
  - {port: "80", nme: a}
  - {protocol: SCTP, port: 80}
  selector: [a]
"""
    found = refused(text)
    assert [(problem.code, problem.origin.line) for problem in found] == [
        ("WFT-1102", 4),
        ("WFT-1106", 5),
        ("WFT-1105", 7),
        ("WFT-1103", 9),
        ("WFT-1102", 9),
        ("WFT-1108", 10),
        ("WFT-1103", 11),
    ]
    assert has_errors(found)


def test_status_is_accepted_whatever_it_holds() -> None:
    accepted("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nstatus: {conditions: [{type: X}]}")
    accepted("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nstatus: null")


def test_an_object_with_a_warning_is_an_object() -> None:
    found = decoded("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, labels: {weft.dev/x: y}}")
    assert found.object is not None
    assert len(found.problems) == 1
    assert not has_errors(found.problems)


def test_a_stored_document_has_problems_at_its_writers_place() -> None:
    found = stored(b'{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{}}', Origin("shop.yaml", 9, 1))
    (problem,) = decode(found).problems
    assert str(problem.origin) == "shop.yaml:9:1"
    assert problem.field == "spec.ports"


def test_a_document_of_a_list_has_its_own_places() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n  spec: {prts: []}\n"
    found = decode(document(text))
    assert [(problem.field, str(problem.origin)) for problem in found.problems] == [("spec.prts", "test.yaml:7:10")]


def test_a_kind_of_the_same_name_in_another_group_is_not_mistaken_for_ours() -> None:
    (problem,) = refused("apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {name: a}\n")
    assert (problem.code, problem.field) == ("WFT-1108", "kind")
    assert "Gateways listen for HTTP" in problem.message
