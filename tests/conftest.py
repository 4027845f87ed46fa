"""What every test may use: the real Envoy, and a loud word about programs that are missing."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.golden import Golden
from tests.support.needs import in_ci, missing
from tests.support.repository import ROOT
from weft.envoy import binary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHOLE = ("attacks", "calls", "envoy", "examples", "faults", "scale")
"""Folders whose tests start all of weft. What their processes run is not counted for the coverage report: the tests of the
modules reach the floor without it, and the tracer doubles the time that everything takes."""

_MISSING = pytest.StashKey[dict[str, int]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write the golden files instead of comparing with them")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_MISSING] = {}


@pytest.fixture(scope="session")
def envoy_binary() -> Path:
    """The Envoy that the tests start."""
    return binary.find(os.environ)


@pytest.fixture(scope="session")
def golden(pytestconfig: pytest.Config) -> Golden:
    """Compares with golden files, or writes them (``--update``)."""
    return Golden(update=bool(pytestconfig.getoption("--update")))


@pytest.fixture(scope="module", autouse=True)
def _processes_are_untraced(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if any(request.path.is_relative_to(ROOT / "tests" / folder) for folder in WHOLE):
            for variable in _of_the_tracer():
                patch.delenv(variable)
        yield


def _of_the_tracer() -> list[str]:
    """What makes the processes that are started report their coverage."""
    return [name for name in os.environ if name.startswith("COVERAGE_PROCESS")]


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For tests that measure time or size: without the coverage report's tracer, here and in the processes they start."""
    for variable in _of_the_tracer():
        monkeypatch.delenv(variable)
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    programs = tuple(str(name) for marker in item.iter_markers("needs") for name in marker.args)
    if absent := missing(programs):
        message = f"needs {', '.join(absent)}; run tools/install-test-tools"
        if in_ci():
            pytest.fail(message, pytrace=False)
        for name in absent:
            counts = item.config.stash[_MISSING]
            counts[name] = counts.get(name, 0) + 1
        pytest.skip(message)
    yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if counts := config.stash[_MISSING]:
        terminalreporter.section("NOT TESTED: programs are missing", sep="!", red=True, bold=True)
        for name, count in sorted(counts.items()):
            terminalreporter.line(f"{name}: {count} test(s) skipped", red=True)
        terminalreporter.line("run tools/install-test-tools (as root on Debian or Ubuntu it installs them)", red=True)
