"""The generated stubs name what the messages have, and make mypy refuse what they have not."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from tests.support.repository import ROOT, SOURCES
from tools.stubs import generate
from weft.envoy import descriptors
from weft.envoy.pool import DATA

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def files() -> FileDescriptorSet:
    return descriptors.unpacked(DATA.read_bytes())


@pytest.fixture(scope="module")
def generated(files: FileDescriptorSet) -> dict[str, str]:
    return generate(files)


def one_file(message: DescriptorProto, package: str = "a.b") -> FileDescriptorSet:
    return FileDescriptorSet(file=[FileDescriptorProto(name="x.proto", package=package, message_type=[message])])


def messages(file: FileDescriptorProto) -> Iterator[tuple[tuple[str, ...], DescriptorProto]]:
    def below(outer: tuple[str, ...], each: DescriptorProto) -> Iterator[tuple[tuple[str, ...], DescriptorProto]]:
        if not each.options.map_entry:
            yield (*outer, each.name), each
            for nested in each.nested_type:
                yield from below((*outer, each.name), nested)

    for top in file.message_type:
        yield from below((), top)


def classes(body: list[ast.stmt], outer: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ast.ClassDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield (*outer, node.name), node
            yield from classes(node.body, (*outer, node.name))


def keywords(made: ast.ClassDef) -> set[str]:
    [init] = [node for node in made.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    return {argument.arg for argument in init.args.kwonlyargs}


def test_what_is_in_the_package_is_what_is_generated(generated: dict[str, str]) -> None:
    protos = SOURCES / "envoy" / "protos"
    written = {
        path.relative_to(protos).as_posix(): path.read_text() for path in protos.rglob("*.py*") if path.suffix != ".pyc"
    }
    assert written == generated


def test_every_field_of_every_message_is_a_keyword_of_its_class(
    files: FileDescriptorSet, generated: dict[str, str]
) -> None:
    stubs: dict[str, dict[tuple[str, ...], ast.ClassDef]] = {}
    compared = 0
    for file in files.file:
        path = file.package.replace(".", "/") + "/__init__.pyi"
        if path not in stubs:
            stubs[path] = dict(classes(ast.parse(generated[path]).body))
        for name, message in messages(file):
            wanted = {field.name for field in message.field} - {"from", "in"}  # Python's keywords cannot be arguments
            assert keywords(stubs[path][name]) == wanted, (file.name, name)
            compared += len(wanted)
    assert compared > 5000


def test_a_package_named_like_a_keyword_is_refused() -> None:
    with pytest.raises(ValueError, match="import cannot be the name"):
        generate(one_file(DescriptorProto(name="M"), package="a.import"))


def test_folders_above_packages_are_packages_too(generated: dict[str, str]) -> None:
    assert "envoy/config/__init__.py" in generated
    assert "envoy/config/__init__.pyi" not in generated


def test_a_field_called_self_leaves_room_for_the_object() -> None:
    message = DescriptorProto(name="M")
    message.field.add(name="self", number=1, type=FieldDescriptorProto.TYPE_STRING)
    assert "def __init__(_me, *, self: _b.str | None = ...) -> None" in generate(one_file(message))["a/b/__init__.pyi"]


CORRECT = """
from weft.envoy import api
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.core import v3 as core

made = cluster.Cluster(name="x", type=cluster.Cluster.EDS, connect_timeout=api.duration(1), alt_stat_name=None)
made.circuit_breakers.thresholds.add(priority=core.RoutingPriority.HIGH)
chosen = made.WhichOneof("cluster_discovery_type")
assert chosen == "type"
names: list[str] = [each.name for each in made.filters]
fields = made.metadata.filter_metadata["a"].fields
kind: cluster.Cluster.DiscoveryType = cluster.Cluster.DiscoveryType.Value("EDS")
"""
WRONG = {
    'cluster.Cluster(nome="x")': "call-arg",
    "cluster.Cluster(name=3)": "arg-type",
    "cluster.Cluster(type=3)": "arg-type",
    "cluster.Cluster(lb_policy=cluster.Cluster.EDS)": "arg-type",
    "cluster.Cluster(connect_timeout=api.uint32(1))": "arg-type",
    'made.WhichOneof("name")': "call-overload",
    'made.HasField("name")': "arg-type",
    "made.nome": "attr-defined",
    'made.name = b"x"': "assignment",
    "cluster.Clusters": "attr-defined",
}


def test_mypy_accepts_what_is_right_and_refuses_each_thing_that_is_wrong(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(CORRECT + "\n".join(WRONG) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", tmp_path / "cache", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    first = len(CORRECT.splitlines()) + 1
    expected = [(first + number, f"[{code}]") for number, code in enumerate(WRONG.values())]
    complaints = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [(int(line.split(":")[1]), line.split()[-1]) for line in complaints] == expected, done.stdout + done.stderr
