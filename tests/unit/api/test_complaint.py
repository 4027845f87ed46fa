"""Pydantic's errors in our words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.documents import refused
from weft.api.complaint import MOST, model_at
from weft.api.filters import PathModifier
from weft.api.httproute import HTTPRoute
from weft.api.mesh import Mesh, MeshService, Version

if TYPE_CHECKING:
    from weft.errors import Problem

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: "


def problem(spec: str) -> Problem:
    (found,) = refused(SERVICE + spec)
    return found


@pytest.mark.parametrize(
    ("spec", "message", "remedy"),
    [
        ("{ports: [{port: 80, targetport: 1}]}", "ports[0] has no field 'targetport'", "Write targetPort"),
        ("{ports: [{port: 80, xyzzy: 1}]}", "ports[0] has no field 'xyzzy'", "Remove it; there is port, name, "),
        ("{ports: [{port: '80'}]}", "port is the text '80', not a whole number", "without quotes"),
        ("{ports: [{port: true}]}", "port is the truth value true, not a whole number", "without quotes"),
        ("{ports: [{port: 80.5}]}", "port is the number 80.5, not a whole number", "without"),
        ("{ports: [{port: {}}]}", "port is a mapping, not a whole number", "without quotes"),
        ("{ports: {port: 80}}", "ports is a mapping, not a list", "after '- '"),
        ("{ports: [80]}", "ports[0] is the number 80, not a mapping", "indented"),
        ("{selector: {a: 1}, ports: [{port: 80}]}", "a is the number 1, not text", "quotes"),
        ("{selector: x, ports: [{port: 80}]}", "selector is the text 'x', not a mapping", "indented"),
        ("{ports: [{}]}", "port is missing", "Add port"),
        ("{ports: [{port: 65536}]}", "port is 65536, which is more than 65535", "limits"),
        ("{ports: [{port: -1}]}", "port is -1, which is less than 1", "limits"),
        (
            "{type: ClusterIp, ports: [{port: 1}]}",
            "type is 'ClusterIp'; allowed is ClusterIP, NodePort,",
            "Write ClusterIP",
        ),
        ("{type: 3, ports: [{port: 1}]}", "type is 3; allowed is", "Write one of them"),
        ("{ports: [{port: 1, appProtocol: ''}]}", "appProtocol is '', which is empty", "limits"),
        ("[]", "spec is a list, not a mapping", "indented"),
    ],
)
def test_a_mistake_is_named_with_what_is_and_what_should_be(spec: str, message: str, remedy: str) -> None:
    found = problem(spec)
    assert found.message.startswith(message)
    assert remedy in found.remedy


def test_a_long_list_says_how_long_it_is() -> None:
    found = problem(f"{{ports: [{', '.join(f'{{port: {n}, name: p{n}}}' for n in range(1, 252))}]}}")
    assert found.message == "ports has 251 items; at most 250 are allowed"


def test_a_document_of_many_mistakes_reports_the_first_thousand() -> None:
    fields = ", ".join(f"f{number}: 1" for number in range(1200))
    assert len(refused(SERVICE + f"{{{fields}}}")) == MOST


def test_a_list_of_wrong_items_is_not_called_too_short() -> None:
    (found,) = refused(
        "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: a}\n"
        "spec: {from: [1], to: [{group: '', kind: Service}]}"
    )
    assert (found.code, found.field) == ("WFT-1103", "spec.from[0]")


def test_a_timestamp_of_another_form_shows_the_form() -> None:
    (found,) = refused("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, creationTimestamp: now}\n")
    assert "creationTimestamp is 'now', which is not of the form" in found.message


def test_an_unknown_field_is_placed_at_its_key() -> None:
    found = problem("{ports: [{port: 80}], selektor: {a: b}}")
    assert str(found.origin) == "test.yaml:4:29"
    assert found.remedy == "Write selector"


def test_the_model_of_a_place_is_found_through_lists_mappings_and_optional_fields() -> None:
    path = ("spec", "rules", 0, "filters", 3, "urlRewrite", "path")
    assert model_at(HTTPRoute, path) is PathModifier
    assert model_at(Mesh, ("spec", "services", "a")) is MeshService
    assert model_at(Mesh, ("spec", "services", "a", "versions", "v1")) is Version
    assert model_at(HTTPRoute, ("spec", "nothing", 0)) is None
    assert model_at(HTTPRoute, ("kind", 0)) is None
