"""The JSON Schema for editors says what decoding says, rules between fields aside."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from tests.support.documents import KIND_PAGES, document, examples
from weft.api.kinds import KINDS, Kind
from weft.api.schema import of_all, of_kind

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = Draft202012Validator(of_all())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_kinds_schema_accepts_its_example(kind: Kind) -> None:
    schema = of_kind(kind)
    Draft202012Validator.check_schema(schema)
    data = document(examples()[kind.kind]).data
    assert [error.message for error in Draft202012Validator(schema).iter_errors(data)] == []
    assert [error.message for error in ALL.iter_errors(data)] == []


MISTAKES: dict[str, Callable[[Any], None]] = {
    "unknown field": lambda spec: spec["services"]["reviews"].update(comand="x"),
    "wrong type": lambda spec: spec["services"]["reviews"].update(replicas="2"),
    "out of range": lambda spec: spec["services"]["reviews"].update(replicas=101),
    "unknown word": lambda spec: spec.update(outboundTraffic="some"),
    "missing field": lambda spec: spec["external"]["payments"].pop("hostnames"),
    "wrong command": lambda spec: spec["services"]["reviews"].update(command=[1]),
    "wrong list": lambda spec: spec.update(include="routes.yaml"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mesh_with_a_mistake_is_no_instance(name: str) -> None:
    data = copy.deepcopy(document(examples()["Mesh"]).data)
    MISTAKES[name](data["spec"])
    assert not Draft202012Validator(of_kind(KINDS[-1])).is_valid(data)
    assert not ALL.is_valid(data)


def test_a_document_is_of_exactly_one_kind() -> None:
    assert not ALL.is_valid({"apiVersion": "v1", "kind": "Mesh", "metadata": {"name": "a"}, "spec": {}})
    assert not ALL.is_valid({"apiVersion": "v2", "kind": "ServiceAccount", "metadata": {"name": "a"}})


def test_every_refused_field_is_refused_by_the_schema_too() -> None:
    data = copy.deepcopy(document(examples()["HTTPRoute"]).data)
    assert isinstance(data["spec"], dict)
    data["spec"]["rules"][0]["sessionPersistence"] = {}
    assert not ALL.is_valid(data)


def test_the_schema_is_the_same_in_every_process() -> None:
    code = "import json, weft.api.schema as s; print(json.dumps(s.of_all()))"
    output = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert json.loads(output) == of_all()
    assert output.strip() == json.dumps(of_all())


def test_the_published_schema_is_the_generated_one(pytestconfig: pytest.Config) -> None:
    published = KIND_PAGES / "weft.schema.json"
    text = json.dumps(of_all(), indent=1) + "\n"
    if pytestconfig.getoption("--update"):
        published.write_text(text)
    assert published.read_text() == text, "pytest --update writes it"
