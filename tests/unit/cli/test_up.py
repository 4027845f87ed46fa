from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.weft_cli import process
from weft import private
from weft.agent import remote
from weft.agent.remote import Joined
from weft.cli.client import Failed

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

MODULE = import_module("weft.cli.up")
ROWS = [
    process("a-v1-0"),
    process("edge", kind="gateway", state="running", ports=["8080"], urls=["http://127.0.0.1:8080"]),
]


class Started:
    """An agent that was started, as far as ``up`` looks at it."""

    def __init__(self, returncode: int | None = None) -> None:
        self.returncode = returncode

    def poll(self) -> int | None:
        return self.returncode


@pytest.fixture
def fresh(weft: Weft, monkeypatch: pytest.MonkeyPatch) -> Weft:
    """Nothing runs when ``up`` looks first; then the two servers answer. ``stop`` is only noted."""
    weft.agent.answers["GET /v1/processes"] = {"processes": ROWS}
    weft.control.answers |= {
        "GET /readyz": b"ok",
        "GET /weft/v1/problems": {"problems": []},
        "GET /weft/v1/placements": {"processes": [{"namespace": "default", "name": "a-v1-0"}], "gateways": []},
    }
    seen: list[bool] = []

    def answers(_: object) -> bool:
        seen.append(True)
        return len(seen) > 1

    monkeypatch.setattr(MODULE, "answers", answers)
    monkeypatch.setattr(MODULE, "start", lambda *_: Started())
    monkeypatch.setattr(MODULE, "stop", lambda _: None)
    return weft


def test_detached_it_says_where_everything_is(fresh: Weft) -> None:
    ran = fresh("up", "-d")
    assert (ran.code, ran.out) == (0, "")
    assert "2 of 2 serve" in ran.err
    assert "gateway edge: http://127.0.0.1:8080" in ran.err
    assert str(fresh.directory) in ran.err


def test_problems_failing_processes_and_late_ones_are_told(fresh: Weft) -> None:
    rows = [process("a-v1-0", state="starting"), process("b-v1-0", state="failing", reason="exit status 1")]
    fresh.agent.answers["GET /v1/processes"] = {"processes": rows}
    problem = {"code": "WFT-1203", "message": "m", "remedy": "r", "origin": {"source": "a.yaml"}}
    fresh.control.answers["GET /weft/v1/problems"] = {"problems": [problem]}
    ran = fresh("up", "-d", "--timeout", "0.3")
    assert ran.code == 1
    for part in ("WFT-1203", "b-v1-0 is failing: exit status 1", "not serving in time: a-v1-0", "0 of 2 serve"):
        assert part in ran.err


def test_an_empty_mesh_says_what_to_do_next(fresh: Weft) -> None:
    fresh.agent.answers["GET /v1/processes"] = {"processes": []}
    fresh.control.answers["GET /weft/v1/placements"] = {"processes": [], "gateways": []}
    assert "weft run NAME" in fresh("up", "-d").err


def test_an_agent_that_ends_is_shown_with_the_end_of_its_log(fresh: Weft, monkeypatch: pytest.MonkeyPatch) -> None:
    log = fresh.directory / "state" / "logs" / "agent.log"
    log.parent.mkdir(parents=True)
    log.write_text("one\nno Envoy here\n")
    monkeypatch.setattr(MODULE, "start", lambda *_: Started(1))
    ran = fresh("up", "-d")
    assert ran.code == 1
    assert "WFT-1709: the agent ended with status 1" in ran.err
    assert "no Envoy here" in ran.err


def test_a_control_plane_that_is_never_ready_is_told(fresh: Weft) -> None:
    log = fresh.directory / "state" / "logs" / "agent.log"
    log.parent.mkdir(parents=True)
    log.write_text("")
    fresh.control.answers["GET /readyz"] = (503, {"message": "not yet"})
    ran = fresh("up", "-d", "--timeout", "0.2")
    assert ran.code == 1
    assert "not ready in time" in ran.err


def test_in_the_foreground_it_says_what_changes_and_ends_everything(
    fresh: Weft, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = [process("a-v1-0", state="failing", reason="exit status 1")]
    states = [{"processes": ROWS}] * 4 + [{"processes": later}]
    fresh.agent.answers["GET /v1/processes"] = states
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) > 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(MODULE.time, "sleep", nap)
    monkeypatch.setattr(MODULE.signal, "signal", lambda *_: None)
    ran = fresh("up")
    assert ran.code == 130
    assert "default/a-v1-0 is failing (exit status 1)" in ran.err
    assert "default/edge is gone" in ran.err
    assert ran.err.endswith("Everything has ended.\n")


def test_up_again_is_no_failure_and_files_are_applied_once(weft: Weft, tmp_path: Path) -> None:
    weft.agent.answers["GET /v1/processes"] = {"processes": []}
    assert "runs already" in weft("up").err
    (tmp_path / "a.yaml").write_text("kind: Mesh\n")
    weft.control.answers["POST /weft/v1/apply"] = {"results": [], "problems": [], "revision": 1}
    weft.control.answers["GET /weft/v1/problems"] = {"revision": 1, "problems": []}
    ran = weft("up", "-f", str(tmp_path / "a.yaml"))
    assert ran.code == 0
    assert "not watched" in ran.err
    (sent,) = json.loads(weft.control.asked("POST", "/weft/v1/apply").body)["manifests"]
    assert sent["text"] == "kind: Mesh\n"


def test_the_agent_is_told_where_and_what(weft: Weft, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(MODULE.subprocess, "Popen", lambda *words, **options: calls.append((words, options)))
    MODULE.start(MODULE.options.paths(), (Path("mesh.yaml"), Path("/b")))
    [((words,), options)] = calls
    assert words == [sys.executable, "-m", "weft.agent"]
    assert options["env"]["WEFT_FILES"] == f"{Path.cwd()}/mesh.yaml{os.pathsep}/b"
    assert options["env"]["WEFT_RUNTIME_DIR"] == str(weft.directory)
    assert options["start_new_session"] is True


def test_on_a_joined_host_the_agent_is_told_who_it_is_and_is_up_when_its_host_proxy_runs(
    fresh: Weft, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.undo()
    monkeypatch.setenv("WEFT_RUNTIME_DIR", str(fresh.directory))
    monkeypatch.setenv("WEFT_STATE_DIR", str(fresh.directory / "state"))
    monkeypatch.delenv("WEFT_ADDRESS", raising=False)
    paths = MODULE.options.paths()
    paths.host_identity.mkdir(parents=True)
    private.replace(paths.joined, remote.encode(Joined("bert", "10.0.0.1:15012", "10.0.0.2", "local")))

    def popen(*words: object, **options: object) -> Started:
        calls.append((words, options))
        return Started()

    monkeypatch.setattr(MODULE.subprocess, "Popen", popen)
    started = MODULE.start(paths, (), "10.0.0.9")
    environ = calls[0][1]["env"]
    assert (environ["WEFT_HOST"], environ["WEFT_CONTROL_ADDRESS"]) == ("bert", "10.0.0.1:15012")
    assert environ["WEFT_ADDRESS"] == "10.0.0.2"
    assert MODULE.is_joined(paths)
    fresh.agent.answers["GET /v1/processes"] = {"processes": [process("bert", kind="egress", state="running")]}
    MODULE.wait_joined(started, MODULE.options.agent(), paths, 5)
    fresh.agent.answers["GET /v1/processes"] = {"processes": []}
    MODULE.log_path(paths).parent.mkdir(exist_ok=True)
    MODULE.log_path(paths).touch()
    with pytest.raises(Failed, match="the host proxy does not run in time"):
        MODULE.wait_joined(started, MODULE.options.agent(), paths, 0.1)
    with pytest.raises(Failed, match="ended with status 3"):
        MODULE.wait_joined(Started(3), MODULE.options.agent(), paths, 5)


def test_a_directory_that_cannot_be_used_is_told(weft: Weft, monkeypatch: pytest.MonkeyPatch) -> None:
    weft.agent.close()
    monkeypatch.setenv("WEFT_STATE_DIR", "/dev/null/state")
    ran = weft("up", "-d")
    assert ran.code == 1
    assert "WFT-1601" in ran.err


@pytest.mark.parametrize(
    ("before", "now", "line"),
    [
        ({}, {"state": "starting"}, "x is starting"),
        ({"state": "starting"}, {"state": "serving"}, "x is serving"),
        ({"state": "serving", "restarts": 0}, {"state": "serving", "restarts": 2}, "x was restarted (2 times so far)"),
        ({"state": "serving"}, {}, "x is gone"),
    ],
)
def test_changes_are_one_line_each(before: dict[str, Any], now: dict[str, Any], line: str) -> None:
    assert MODULE.changes({"x": before} if before else {}, {"x": now} if now else {}) == [line]
