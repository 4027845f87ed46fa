"""``weft join``, against a door that answers what a test wrote down."""

from __future__ import annotations

import base64
import io
import json
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import convert

from tests.support.certificates import host_certificate
from tests.support.stores import Clock
from tests.support.weft_cli import process
from weft import private
from weft.agent import remote
from weft.agent.remote import Joined
from weft.identity import pem
from weft.identity.join import Invitation, JoinTokens, fingerprint
from weft.identity.keys import write_key
from weft.identity.possession import Proof, authority, wrong

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.weft_cli import Weft
    from weft.identity.possession import Held

MODULE = import_module("weft.cli.join")
UP = import_module("weft.cli.up")
ROOT = b"a root"


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Door:
    """Stands for ``cli.door.Connection``. ``asked`` is what it was asked for, with the identity that was expected."""

    asked: list[tuple[str, str, dict[str, Any]]]
    roots: tuple[bytes, ...] = (b"another", ROOT)
    local = "10.0.0.2"

    def __init__(self, _where: object, _context: object, spiffe_id: str) -> None:
        self.spiffe_id = spiffe_id

    def json(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        assert path == "/weft/v1/join"
        self.asked.append((method, self.spiffe_id, json.loads(body) if body else {}))
        if method == "GET":
            return {"domain": "local", "x509": [text(root) for root in self.roots]}
        return {"svid": {"chain": [text(b"leaf")]}, "bundle": {"x509": [text(ROOT)]}}


class Started:
    returncode = 0

    def poll(self) -> None:
        return None


@pytest.fixture
def token(tmp_path: Path) -> str:
    return JoinTokens(tmp_path / "join").create("bert", ROOT, "a test", Clock()())[0]


@pytest.fixture
def door(weft: Weft, monkeypatch: pytest.MonkeyPatch) -> type[Door]:
    made = type("Made", (Door,), {"asked": []})
    monkeypatch.setattr(MODULE, "Connection", made)
    monkeypatch.setattr(MODULE, "answers", lambda _: False)
    monkeypatch.setattr(remote, "context", lambda _: None)
    monkeypatch.setattr(UP, "start", lambda *_: Started())
    weft.agent.answers["GET /v1/processes"] = {"processes": [process("bert", kind="egress", state="running")]}
    return made


def test_the_secret_is_said_only_to_whom_the_token_names(weft: Weft, door: type[Door], token: str) -> None:
    ran = weft("join", "10.0.0.1", "--token", token, "--name", "bert")
    assert ran.code == 0, ran.err
    first, second = door.asked
    assert first == ("GET", "", {})
    assert second[:2] == ("POST", "spiffe://local/weft/control")
    assert (second[2]["token"], second[2]["host"]) == (token, "bert")
    [found] = weft.directory.rglob("joined.json")
    assert remote.read_joined(found.parent) == Joined("bert", "10.0.0.1:15012", "10.0.0.2", "local")
    identity = (found.parent / remote.IDENTITY).read_bytes()
    assert b"PRIVATE KEY" in identity
    assert (found.parent / remote.IDENTITY).stat().st_mode & 0o777 == 0o600
    assert token not in ran.out + ran.err


def test_whoever_has_another_root_learns_nothing(weft: Weft, door: type[Door], token: str) -> None:
    door.roots = (b"another",)
    ran = weft("join", "10.0.0.1", "--token", token, "--name", "bert")
    assert (ran.code, [each[0] for each in door.asked]) == (1, ["GET"])
    assert "WFT-1863" in ran.err


def test_what_is_no_token_or_no_address_is_said_before_anybody_is_asked(weft: Weft, door: type[Door]) -> None:
    assert "WFT-1861" in weft("join", "10.0.0.1", "--token", "x", "--name", "bert").err
    assert weft("join", "control.example.com", "--token", "x").code == 2
    assert door.asked == []


def test_a_token_need_not_stand_in_a_command_line(
    weft: Weft, door: type[Door], token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{token}\n"))
    assert weft("join", "10.0.0.1", "--token", "-", "--name", "bert").code == 0
    kept = tmp_path / "token"
    kept.write_text(f"  {token}\n")
    assert weft("join", "10.0.0.1", "--token-file", str(kept), "--name", "bert").code == 0
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr(MODULE.click, "prompt", lambda *_, **how: token if how["hide_input"] else "")
    assert weft("join", "10.0.0.1", "--token", "-", "--name", "bert").code == 0
    assert [body["token"] for method, _, body in door.asked if method == "POST"] == [token] * 3


@pytest.mark.parametrize("given", [(), ("--token", "x", "--token-file", "y"), ("--token-file", "/nowhere/at/all")])
def test_a_token_is_given_once(weft: Weft, door: type[Door], given: tuple[str, ...]) -> None:
    ran = weft("join", "10.0.0.1", *given, "--name", "bert")
    assert (ran.code, door.asked) == (2, [])
    assert "oken" in ran.err


def files(directory: Path, held: Held) -> tuple[str, ...]:
    """The words of a command line that name what a host has."""
    directory.mkdir(exist_ok=True)
    (directory / "cert").write_bytes(pem.certificates(held.chain))
    write_key(directory / "key", held.key)
    return "--cert", str(directory / "cert"), "--key", str(directory / "key")


def test_a_host_proves_that_it_has_a_certificate_to_whom_it_was_told(
    weft: Weft, door: type[Door], tmp_path: Path
) -> None:
    held, ca = host_certificate("bert", datetime.now(UTC))
    given = (*files(tmp_path / "files", held), "--fingerprint", fingerprint(ROOT).hex(), "--name", "bert")
    ran = weft("join", "10.0.0.1", *given)
    assert ran.code == 0, ran.err
    (method, spiffe_id, _), (_, other, body) = door.asked
    assert (method, spiffe_id, other) == ("GET", "", "spiffe://local/weft/control")
    proof = convert(body["proof"], Proof)
    invited = Invitation("bert", 0, "", authority(ca.decode()), fingerprint(ROOT))  # type: ignore[arg-type]  # it is one
    assert wrong(invited, "bert", base64.b64decode(body["csr"]), proof, datetime.now(UTC)) == ""
    assert "token" not in body
    door.roots = (b"another",)
    assert "WFT-1863" in weft("join", "10.0.0.1", *given).err
    assert [each[0] for each in door.asked] == ["GET", "POST", "GET"]


def test_what_does_not_make_a_certificate_is_said_before_anybody_is_asked(
    weft: Weft, door: type[Door], tmp_path: Path
) -> None:
    held, _ = host_certificate("bert", datetime.now(UTC))
    given, root = files(tmp_path / "files", held), ("--fingerprint", "ab" * 32)
    for words in (given, given[:2] + root, given[2:] + root, (*given, *root, "--token", "x"), (*given, root[0], "ab")):
        assert weft("join", "10.0.0.1", *words, "--name", "bert").code == 2
    (tmp_path / "files" / "cert").write_text("x")
    assert "WFT-1867" in weft("join", "10.0.0.1", *given, *root, "--name", "bert").err
    assert door.asked == []


@pytest.mark.usefixtures("door")
def test_a_host_stays_who_it_is(weft: Weft, token: str) -> None:
    assert weft("join", "10.0.0.1", "--token", token, "--name", "bert").code == 0
    ran = weft("join", "10.0.0.9", "--token", token, "--name", "cleo")
    assert ran.code == 1
    assert "this host is bert in the mesh at 10.0.0.1:15012 already" in ran.err


def test_a_host_with_a_control_plane_of_its_own_does_not_join(weft: Weft, door: type[Door], token: str) -> None:
    from weft.cli import options  # noqa: PLC0415 - where the state is

    state = options.paths().state
    state.mkdir(parents=True, exist_ok=True)
    (state / "weft.db").touch()
    ran = weft("join", "10.0.0.1", "--token", token, "--name", "bert")
    assert "WFT-1864" in ran.err
    assert door.asked == []


def test_where_weft_runs_already_it_must_end_first(
    weft: Weft, door: type[Door], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "answers", lambda _: True)
    assert "weft runs here already" in weft("join", "10.0.0.1", "--token", token, "--name", "bert").err
    assert door.asked == []


def test_the_agent_of_a_joined_host_is_told_who_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from weft.paths import Paths  # noqa: PLC0415 - only this test needs it

    monkeypatch.delenv("WEFT_ADDRESS", raising=False)
    paths = Paths(tmp_path / "s", tmp_path / "r")
    assert MODULE.environment(paths) == {}
    paths.host_identity.mkdir(parents=True)
    private.replace(paths.joined, remote.encode(Joined("bert", "10.0.0.1:15012", "10.0.0.2", "local")))
    told = {"WEFT_HOST": "bert", "WEFT_CONTROL_ADDRESS": "10.0.0.1:15012", "WEFT_ADDRESS": "10.0.0.2"}
    assert MODULE.environment(paths) == told
    monkeypatch.setenv("WEFT_ADDRESS", "10.0.0.22")
    assert MODULE.environment(paths)["WEFT_ADDRESS"] == "10.0.0.22"
    paths.joined.write_bytes(b"{")
    assert MODULE.environment(paths) == {}
