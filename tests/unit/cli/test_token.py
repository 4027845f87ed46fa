from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from weft.cli.token import Duration

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.weft_cli import Weft


def test_a_token_is_the_only_data_and_said_to_be_shown_once(weft: Weft) -> None:
    weft.control.answers["POST /weft/v1/tokens"] = (201, {"token": "weft_secret"})
    ran = weft("token", "create", "ci", "--role", "editor", "--for", "24h")
    assert ran.out == "weft_secret\n"
    assert "Nobody can see it again" in ran.err
    body = json.loads(weft.control.asked("POST", "/weft/v1/tokens").body)
    assert body == {"name": "ci", "role": "editor", "seconds": 86400}


def test_a_host_is_invited(weft: Weft) -> None:
    weft.control.answers["POST /weft/v1/tokens"] = (201, {"token": "weft_join_x", "host": "edge"})
    assert "on edge" in weft("token", "create", "--join", "edge").err
    assert json.loads(weft.control.asked("POST", "/weft/v1/tokens").body) == {"join": "edge"}
    assert weft("token", "create", "--join", "edge", "-o", "name").out == "weft_join_x\n"


def test_a_host_is_invited_by_its_certificate(weft: Weft, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("a CA")
    weft.control.answers["POST /weft/v1/tokens"] = (201, {"fingerprint": "ab", "host": "edge", "expires": 32503680000})
    ran = weft("token", "create", "--join", "edge", "--ca", str(ca), "--for", "1h")
    assert ran.out == "ab\n"
    assert "weft join ADDRESS --cert FILE --key FILE --fingerprint ab" in ran.err
    body = json.loads(weft.control.asked("POST", "/weft/v1/tokens").body)
    assert body == {"join": "edge", "ca": "a CA", "seconds": 3600}
    assert weft("token", "create", "--join", "edge", "--ca", str(ca), "-o", "name").out == "ab\n"


@pytest.mark.parametrize(
    "words",
    [
        ["ci"],
        ["--role", "admin"],
        ["--join", "h", "--role", "admin"],
        ["--join", "h", "--for", "1h"],
        ["ci", "--role", "viewer", "--ca", __file__],
        ["--join", "h", "--ca", "/nowhere/at/all"],
        ["ci", "--role", "root"],
        ["ci", "--role", "viewer", "--for", "1x"],
    ],
)
def test_what_is_not_whole_is_wrong_usage(weft: Weft, words: list[str]) -> None:
    assert weft("token", "create", *words).code == 2


def test_tokens_and_invitations_are_listed_together(weft: Weft) -> None:
    token = {
        "name": "ci",
        "role": "viewer",
        "created": "2026-01-01T00:00:00Z",
        "expires": "",
        "expired": False,
        "by": "ann",
    }
    over = {**token, "name": "old", "expires": "2020-01-01T00:00:00Z", "expired": True}
    soon = {**token, "name": "new", "expires": "2999-01-01T00:00:00Z"}
    joining = {"host": "edge", "expires": 32503680000, "by": "ann"}
    weft.control.answers["GET /weft/v1/tokens"] = {"items": [token, over, soon], "joining": [joining]}
    lines = weft("token", "list").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["ci", "old", "new", "edge"]
    assert "never" in lines[1]
    assert "expired" in lines[2]
    assert "join" in lines[4]
    assert max(map(len, lines)) <= 80


def test_a_token_is_revoked(weft: Weft) -> None:
    weft.control.answers["DELETE /weft/v1/tokens/ci"] = (204, b"")
    assert weft("token", "revoke", "ci").out == "ci revoked\n"
    weft("token", "revoke", "ci", "--join")
    assert weft.control.asked("DELETE", "/weft/v1/tokens/ci").query == {"join": "true"}


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("1h30m", 5400), ("7d", 604800)])
def test_durations_are_written_with_their_units(text: str, seconds: int) -> None:
    assert Duration().convert(text, None, None) == seconds
    assert Duration().convert(seconds, None, None) == seconds


def test_that_nobody_has_a_token_is_said(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/tokens"] = {"items": [], "joining": []}
    assert weft("token", "list").err == "Nobody has a token, and no host is invited.\n"
    assert weft("token", "list", "-o", "json").err == ""
