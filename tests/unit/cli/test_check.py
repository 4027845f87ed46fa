from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from weft.agent import check as preflight
from weft.errors import Problem
from weft.values import Origin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.weft_cli import Weft

MESH = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {name: shop}
spec:
  include: [routes.yaml]
  services:
    cart: {command: "true", port: 80}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart}
spec:
  parentRefs: [{group: "", kind: Service, name: cart}]
  rules:
    - backendRefs: [{name: %s, port: 80}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mesh.yaml").write_text(MESH)
    (tmp_path / "routes.yaml").write_text(ROUTE % "cart-v1")
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_good_manifests_are_counted_with_what_they_include(weft: Weft) -> None:
    assert weft("check", "mesh.yaml") == (0, "", "OK, checked 2 objects in 1 file\n")
    assert weft("check").code == 0


def test_a_problem_of_the_whole_is_found_at_its_place(weft: Weft, folder: Path) -> None:
    (folder / "routes.yaml").write_text(ROUTE % "crat")
    ran = weft("check", "mesh.yaml")
    assert ran.code == 3
    assert "WFT-1203" in ran.out
    assert "at   routes.yaml:8:28" in ran.out
    assert ran.err == "1 error, 0 warnings in 2 objects\n"


def test_other_programs_get_what_they_read(weft: Weft, folder: Path) -> None:
    (folder / "routes.yaml").write_text(ROUTE % "crat")
    sarif = json.loads(weft("check", "-o", "sarif").out)
    assert sarif["runs"][0]["results"][0]["ruleId"] == "WFT-1203"
    tree = ET.fromstring(weft("check", "-o", "junit").out)  # noqa: S314 - our own output
    assert tree[0].attrib["failures"] == "1"
    answer = json.loads(weft("check", "-o", "json").out)
    assert (answer["checked"], answer["problems"][0]["code"]) == (2, "WFT-1203")


def test_an_include_that_is_not_there_is_told_at_its_line(weft: Weft, folder: Path) -> None:
    (folder / "routes.yaml").unlink()
    ran = weft("check", "mesh.yaml")
    assert ran.code == 3
    assert "WFT-1009" in ran.out
    assert "at   mesh.yaml:6:13" in ran.out


def test_an_object_that_stands_in_two_files_is_told(weft: Weft, folder: Path) -> None:
    (folder / "other.yaml").write_text(ROUTE % "cart-v1")
    ran = weft("check")
    assert ran.code == 3
    assert "WFT-1110" in ran.out


def test_a_folder_without_manifests_is_a_failure(weft: Weft, tmp_path: Path) -> None:
    ran = weft("check", str(tmp_path))
    assert ran.code == 1
    assert "WFT-1710" in ran.err


@pytest.mark.parametrize(("works", "code"), [(True, 0), (False, 3)])
def test_the_machine_is_told_row_by_row(weft: Weft, monkeypatch: pytest.MonkeyPatch, works: bool, code: int) -> None:
    problem = Problem(code="WFT-1603", message="no namespaces", remedy="Allow them", origin=Origin("kernel"))

    async def look() -> tuple[preflight.Finding, ...]:
        return (preflight.Finding("capture", works, "a detail", None if works else problem),)

    monkeypatch.setattr(preflight, "preflight", look)
    ran = weft("check", "--pre")
    assert ran.code == code
    assert "a detail" in ran.out
    assert ("no namespaces" in ran.err) is not works
    assert weft("check", "--pre", "x").code == 2
