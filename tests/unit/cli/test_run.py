from __future__ import annotations

import signal
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from tests.support.weft_cli import process
from weft.agent import remote
from weft.agent.remote import Joined
from weft.api.decode import decode
from weft.api.document import read
from weft.cli.client import Client
from weft.cli.run import assignment

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

MODULE = import_module("weft.cli.run")
REF = {"group": "weft.dev", "kind": "Mesh", "namespace": "default", "name": "run-web-v1"}
MESH = "/apis/weft.dev/v1alpha1/namespaces/default/meshes/run-web-v1"


@pytest.fixture
def applied(weft: Weft) -> Weft:
    weft.control.answers["POST /weft/v1/apply"] = {
        "results": [{"ref": REF, "verb": "created"}],
        "problems": [],
        "revision": 1,
    }
    weft.agent.answers["GET /v1/processes"] = {"processes": [process("web-v1-0")]}
    return weft


def test_what_is_applied_is_a_mesh_that_the_reader_accepts(applied: Weft) -> None:
    words = ("--port", "80", "--version", "v2", "--replicas", "2", "--need", "db", "--env", "A=b", "--mode", "proxy")
    ran = applied("run", "web", *words, "--dry-run", "--", "true", "--flag")
    assert ran.code == 0
    [document] = read(ran.out.encode(), "stdout").documents
    assert decode(document).problems == ()
    service: dict[str, Any] = yaml.safe_load(ran.out)["spec"]["services"]["web"]
    assert service["versions"]["v2"]["command"][0].endswith("/true")
    assert service["versions"]["v2"]["command"][1:] == ["--flag"]
    assert service["versions"]["v2"]["env"] == {"A": "b"}
    assert (service["capture"], service["needs"], service["port"]) == ("proxy", ["db"], 80)
    assert applied.control.asked("POST", "/weft/v1/apply").query == {"owner": "run", "dryRun": "true"}


def test_detached_it_returns_when_it_serves(applied: Weft) -> None:
    ran = applied("run", "web", "-d", "--", "true")
    assert (ran.code, ran.out) == (0, "")
    assert "weft delete mesh/run-web-v1" in ran.err


def test_detached_it_says_when_it_does_not_serve(applied: Weft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "SECONDS", 0.0)
    applied.agent.answers["GET /v1/processes"] = {"processes": [process("web-v1-0", state="failing")]}
    ran = applied("run", "web", "-d", "--", "true")
    assert ran.code == 1
    assert "does not serve yet" in ran.err


def test_in_the_foreground_its_output_is_shown_and_it_is_removed_at_the_end(applied: Weft) -> None:
    applied.agent.answers["GET /v1/processes/default/web-v1-0/logs"] = b"listening\n"
    applied.control.answers[f"DELETE {MESH}"] = {}
    ran = applied("run", "web", "--", "true")
    assert (ran.code, ran.out, ran.err) == (0, "listening\n", "web-v1 is removed.\n")


def test_ctrl_c_removes_it_too(applied: Weft, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MODULE.logs, "follow_all", interrupted)
    assert applied("run", "web", "--", "true").code == 130
    assert applied.control.asked("DELETE", MESH)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_removes_it_too(
    applied: Weft, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    monkeypatch.setattr(MODULE.logs, "follow_all", lambda *_: signal.raise_signal(number))
    assert applied("run", "web", "--", "true").code == 130
    assert signal.getsignal(number) is before
    assert applied.control.asked("DELETE", MESH)


def test_a_command_that_never_starts_is_told(applied: Weft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "SECONDS", 0.0)
    applied.agent.answers["GET /v1/processes"] = {"processes": []}
    ran = applied("run", "web", "--", "true")
    assert ran.code == 1
    assert "does not start" in ran.err


def test_a_refused_document_is_a_failure(weft: Weft) -> None:
    problem = {"code": "WFT-1106", "message": "m", "remedy": "r", "origin": {"source": "run"}}
    weft.control.answers["POST /weft/v1/apply"] = {"results": [{"ref": REF, "verb": "refused"}], "problems": [problem]}
    ran = weft("run", "Web_", "-v", "--", "true")
    assert ran.code == 1
    assert "kind: Mesh" in ran.out
    assert "WFT-1106" in ran.err


def test_a_program_that_is_not_there_is_told_before_anything_is_applied(weft: Weft) -> None:
    ran = weft("run", "web", "--", "nosuchprogram")
    assert ran.code == 1
    assert "WFT-1708" in ran.err
    assert weft.control.requests == []


def test_a_variable_without_a_value_is_this_shells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET", "here")
    monkeypatch.delenv("UNSET", raising=False)
    assert (assignment("SET"), assignment("A=b=c"), assignment("A=")) == (("SET", "here"), ("A", "b=c"), ("A", ""))
    with pytest.raises(click.UsageError):
        assignment("UNSET")


def test_on_a_joined_host_it_runs_there_and_the_mesh_is_asked_by_its_door(
    applied: Weft, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weft.cli import door, options  # noqa: PLC0415 - where the state is

    joined = options.paths().joined
    joined.parent.mkdir(parents=True)
    joined.write_bytes(remote.encode(Joined("bert", "10.0.0.1:15012", "10.0.0.2", "local")))
    tokens: list[str] = []

    def client(_: object, token: str) -> Client:
        tokens.append(token)
        return Client(str(applied.control.path))

    monkeypatch.setattr(door, "client", client)
    monkeypatch.setenv("WEFT_TOKEN", "secret")
    ran = applied("run", "web", "--dry-run", "--", "true")
    assert yaml.safe_load(ran.out)["spec"]["services"]["web"]["hosts"] == ["bert"]
    assert tokens == ["secret"]
