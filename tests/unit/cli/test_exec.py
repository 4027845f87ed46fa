from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.weft_cli import process

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

MODULE = import_module("weft.cli.exec")


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What this process would have become."""
    calls: list[Any] = []
    monkeypatch.setattr(MODULE.os, "execvpe", lambda *call: calls.append(call))
    return calls


def enter(weft: Weft, **answer: Any) -> None:  # noqa: ANN401 - JSON values
    weft.agent.answers["GET /v1/processes"] = {"processes": [process("a-v1-0"), process("a-v1-1")]}
    found = {"pid": os.getpid(), "namespaces": [], "environment": {"VERSION": "v1"}, "directory": "/", **answer}
    weft.agent.answers["GET /v1/processes/default/a-v1-0/enter"] = found


def test_the_command_gets_its_own_flags_and_the_workloads_environment(weft: Weft, replaced: list[Any]) -> None:
    enter(weft)
    ran = weft("exec", "a", "--", "curl", "-s", "--help")
    assert ran.code == 0
    [(program, words, environment)] = replaced
    assert (program, words, environment["VERSION"]) == ("curl", ["curl", "-s", "--help"], "v1")
    assert environment["PATH"] == os.environ["PATH"]
    assert "a has 2 instances; this is a-v1-0" in ran.err


@pytest.mark.parametrize(("capture", "proxy"), [("transparent", None), ("ports", None), ("none", "http://proxy:3128")])
def test_a_proxy_of_the_terminals_is_not_asked_for_the_meshs_names(
    weft: Weft, replaced: list[Any], monkeypatch: pytest.MonkeyPatch, capture: str, proxy: str | None
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    enter(weft, environment={"WEFT_CAPTURE": capture})
    assert weft("exec", "a-v1-0", "--", "true").code == 0
    [(_, _, environment)] = replaced
    assert environment.get("http_proxy") == proxy


def test_a_network_that_this_process_is_in_is_not_joined_again(weft: Weft, replaced: list[Any]) -> None:
    enter(weft, namespaces=["user", "net"])
    assert weft("exec", "a-v1-0", "--", "true").code == 0
    assert len(replaced) == 1


def test_a_workload_that_ended_meanwhile_is_a_problem(weft: Weft, replaced: list[Any]) -> None:
    enter(weft, pid=4194304 + 1, namespaces=["net"])
    ran = weft("exec", "a-v1-0", "--", "true")
    assert (ran.code, replaced) == (1, [])
    assert "WFT-1707" in ran.err


def test_a_program_that_is_not_there_is_127(weft: Weft) -> None:
    enter(weft)
    ran = weft("exec", "a-v1-0", "--", "/nonexistent/program")
    assert ran.code == 127
    assert "WFT-1708" in ran.err
