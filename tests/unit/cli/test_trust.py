from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.trust import key, key_pem
from weft.cli import trust
from weft.identity import journal, opening, x509
from weft.sources.lock import lock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.weft_cli import Weft

STEPS = "/weft/v1/authorities"
NODE = "sidecar/shop/pay-v1-0"
PROBLEM = {
    "code": "WFT-1816",
    "message": "the root certificate of authority aaaaaa ends in 910 days",
    "remedy": "Replace the authority: weft trust rotate",
    "origin": {"source": "authority aaaaaa", "line": 0, "column": 0},
    "severity": "warning",
}


def life(part: str, used: float, *, renews: bool = False) -> dict[str, Any]:
    return {
        "authority": "aaaaaa",
        "part": part,
        "subject": "CN=x",
        "fingerprint": f"f00{part}",
        "not_before": 0,
        "not_after": 1767225600,
        "renews": renews,
        "used": used,
    }


def authority(name: str = "aaaaaa", state: str = "active") -> dict[str, Any]:
    lives = [] if state == "revoked" else [life("root", 0.12), life("issuing", 0.5, renews=True)]
    return {"id": name, "state": state, "created": 0, "plugged": False, "published": 1, "certificates": lives}


def answer(step: str = "", blockers: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    rotation = {"old": "aaaaaa", "new": "bbbbbb", "step": step, "begun": 0, "who": "ann", "ignored": [], "force": False}
    return {
        "domain": "local",
        "sequence": 4,
        "authorities": [authority(), authority("bbbbbb", "revoked")],
        "rotation": rotation if step else None,
        "blockers": [{"node": node, "host": "hosta", "why": "it holds bundles 3"} for node in blockers],
        "problems": [],
        "events": [],
        **more,
    }


@pytest.fixture
def federated(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/federation"] = {"items": []}


@pytest.mark.usefixtures("federated")
def test_the_states_are_a_table(weft: Weft) -> None:
    weft.control.answers[f"GET {STEPS}"] = answer()
    ran = weft("trust", "status")
    assert ran.code == 0
    first, second, third = ran.out.splitlines()
    assert first.split("   ")[0] == "AUTHORITY"
    assert second.split()[:2] == ["aaaaaa", "active"]
    assert "2026-01-01 (renews)" in second
    assert "12%" in second
    assert third.split() == ["bbbbbb", "revoked", "-", "-", "-", "weft"]
    assert "Trust domain local, bundle sequence 4" in ran.err
    assert "f00root" in weft("trust", "status", "-o", "wide").out
    assert weft("trust", "status", "-o", "name").out.split() == ["aaaaaa", "bbbbbb"]
    assert json.loads(weft("trust", "status", "-o", "json").out)["federated"] == []


def test_what_needs_attention_has_its_own_exit_code(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/federation"] = {
        "items": [
            {
                "trust_domain": "example.org",
                "profile": "file",
                "url": "",
                "spiffe_id": "",
                "fetched": 0,
                "sequence": 3,
                "authorities": 1,
                "problems": [],
            }
        ]
    }
    weft.control.answers[f"GET {STEPS}"] = answer("prepared", (NODE,), problems=[PROBLEM])
    ran = weft("trust", "status")
    assert ran.code == 3
    assert "example.org" in ran.out
    assert "prepared (1 of 4)" in ran.err
    assert f"{NODE}: it holds bundles 3" in ran.err
    assert "WFT-1816" in ran.err


def test_each_step_says_what_comes_next(weft: Weft) -> None:
    for step, next_ in (
        ("prepare", "activate"),
        ("activate", "taint"),
        ("taint", "revoke"),
        ("revoke", "refused everywhere"),
    ):
        weft.control.answers[f"POST {STEPS}/{step}"] = {"authority": "cccccc"}
        ran = weft("trust", step)
        assert ran.code == 0
        assert "Authority cccccc" in ran.err
        assert next_ in ran.err


def test_a_step_names_its_authority_and_its_exceptions(weft: Weft) -> None:
    weft.control.answers[f"POST {STEPS}/revoke"] = {"authority": "cccccc"}
    weft("trust", "revoke", "cccccc", "--ignore", NODE, "--ignore", "x", "--force")
    sent = json.loads(weft.control.asked("POST", f"{STEPS}/revoke").body)
    assert sent == {"authority": "cccccc", "force": True, "ignore": [NODE, "x"]}


def test_a_rotation_is_followed_to_its_end(weft: Weft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "POLL_SECONDS", 0)
    monkeypatch.setattr(trust, "PATIENT_SECONDS", 0)
    many = tuple(f"sidecar/shop/n{number}" for number in range(12))
    weft.control.answers[f"POST {STEPS}/rotate"] = {"old": "aaaaaa", "new": "bbbbbb", "step": "prepared"}
    weft.control.answers[f"GET {STEPS}"] = [
        answer("prepared", many),
        answer("prepared", many),
        answer("prepared", (NODE,)),
        answer("tainted", (NODE,)),
        answer("done"),
    ]
    ran = weft("trust", "rotate")
    assert ran.code == 0
    lines = ran.err.splitlines()
    assert lines[0] == "Authority aaaaaa is replaced by bbbbbb."
    assert ran.err.count("prepared (1 of 4)") == 1
    assert ran.err.count(f"  {NODE}: it holds bundles 3") == 1
    assert "  waiting for 12; let one go with: weft trust rotate --ignore NODE" in lines
    assert "  and 2 more" in lines
    assert ran.err.count("tainted (3 of 4)") == 1
    assert lines[-1] == "Authority bbbbbb is the only one that is trusted."


def test_a_rotation_that_goes_well_names_nobody(weft: Weft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "POLL_SECONDS", 0)
    weft.control.answers[f"POST {STEPS}/rotate"] = {"old": "aaaaaa", "new": "bbbbbb", "step": "prepared"}
    weft.control.answers[f"GET {STEPS}"] = [answer("prepared", (NODE,)), answer("activated"), answer("done")]
    ran = weft("trust", "rotate")
    assert [line.partition(" ")[0] for line in ran.err.splitlines()] == [
        "Authority",
        "prepared",
        "activated",
        "Authority",
    ]


def test_a_rotation_may_take_longer_than_one_waits(weft: Weft) -> None:
    weft.control.answers[f"POST {STEPS}/rotate"] = {"old": "aaaaaa", "new": "bbbbbb", "step": "prepared"}
    weft.control.answers[f"GET {STEPS}"] = answer("prepared", (NODE,))
    ran = weft("trust", "rotate", "--timeout", "0")
    assert ran.code == 1
    assert "goes on by itself" in ran.err
    assert weft("trust", "rotate", "--no-wait").code == 0


def test_a_ca_of_ones_own_is_sent_when_nobody_else_can_read_its_key(weft: Weft, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("certificate")
    (tmp_path / "ca.key").write_text("secret")
    (tmp_path / "ca.key").chmod(0o644)
    pair = ("--root-cert", str(tmp_path / "ca.pem"), "--root-key", str(tmp_path / "ca.key"))
    weft.control.answers[f"POST {STEPS}/prepare"] = {"authority": "cccccc"}
    ran = weft("trust", "prepare", *pair)
    assert ran.code == 1
    assert "WFT-1802" in ran.err
    (tmp_path / "ca.key").chmod(0o600)
    assert weft("trust", "prepare", *pair).code == 0
    sent = json.loads(weft.control.asked("POST", f"{STEPS}/prepare").body)
    assert (sent["certificates"], sent["key"]) == ("certificate", "secret")
    assert weft("trust", "prepare", *pair[:2]).code == 2
    (tmp_path / "ca.pem").write_text("x" * (trust.MAX_FILE + 1))
    assert weft("trust", "prepare", *pair).code == 2


def test_trust_domains_are_added_by_document_and_by_endpoint(weft: Weft, tmp_path: Path) -> None:
    weft.control.answers["POST /weft/v1/federation"] = {}
    (tmp_path / "b.json").write_text('{"keys": []}')
    assert weft("trust", "federate", "example.org", "--bundle", str(tmp_path / "b.json")).code == 0
    sent = json.loads(weft.control.requests[-1].body)
    assert (sent["trust_domain"], sent["profile"], sent["document"]) == ("example.org", "file", '{"keys": []}')
    endpoint = (
        "--endpoint",
        "https://example.org/",
        "--profile",
        "https_spiffe",
        "--spiffe-id",
        "spiffe://example.org/x",
    )
    ran = weft("trust", "federate", "example.org", *endpoint, "--bootstrap", str(tmp_path / "b.json"), "--private")
    assert ran.code == 0
    assert "spiffe://example.org/..." in ran.err
    sent = json.loads(weft.control.requests[-1].body)
    assert sent == {
        "trust_domain": "example.org",
        "document": '{"keys": []}',
        "profile": "https_spiffe",
        "url": "https://example.org/",
        "spiffe_id": "spiffe://example.org/x",
        "ca": "",
        "private": True,
    }


def test_a_trust_domain_is_removed(weft: Weft) -> None:
    weft.control.answers["DELETE /weft/v1/federation/example.org"] = {}
    ran = weft("trust", "federate", "example.org", "--remove")
    assert (ran.code, ran.err) == (0, "example.org is not trusted any more.\n")


def test_options_that_have_no_effect_are_refused(weft: Weft, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("{}")
    file, url = str(tmp_path / "b"), "https://example.org/"
    for options in (
        (),
        ("--bundle", file, "--endpoint", url),
        ("--bundle", file, "--private"),
        ("--bundle", file, "--bootstrap", file),
        ("--bundle", file, "--spiffe-id", "x"),
        ("--bundle", file, "--ca", file),
        ("--endpoint", url, "--profile", "https_spiffe", "--ca", file),
        ("--endpoint", url, "--spiffe-id", "x"),
    ):
        assert weft("trust", "federate", "example.org", *options).code == 2, options
    assert not weft.control.requests


def test_our_bundle_is_data(weft: Weft) -> None:
    weft.control.answers["GET /.well-known/spiffe-bundle"] = {"keys": [], "spiffe_sequence": 1}
    assert json.loads(weft("trust", "bundle").out) == {"keys": [], "spiffe_sequence": 1}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEFT_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def test_an_authority_is_made_before_the_first_start(weft: Weft, state: Path) -> None:
    assert weft("trust", "init", "--trust-domain", "Example.org").code == 2
    ran = weft("trust", "init", "--trust-domain", "example.org", "--curve", "P-384")
    assert ran.code == 0
    found = opening.opened(state / "trust", datetime.now(UTC)).journal
    assert found.trust_domain == "example.org"
    assert found.active.id in ran.err


def test_a_second_one_is_not_made(weft: Weft, state: Path) -> None:
    opening.opened(state / "trust", datetime.now(UTC))
    before = journal.read(state / "trust")
    ran = weft("trust", "init")
    assert ran.code == 1
    assert "WFT-1809" in ran.err
    assert journal.read(state / "trust") == before


def test_none_is_made_below_a_control_plane_that_runs(weft: Weft, state: Path) -> None:
    held = lock(state)
    try:
        ran = weft("trust", "init")
    finally:
        os.close(held)
    assert ran.code == 1
    assert "WFT-1503" in ran.err
    assert not (state / "trust").exists()


def test_it_stands_below_a_ca_of_ones_own(weft: Weft, state: Path, tmp_path: Path) -> None:
    private = key()
    root = x509.make_root("example.org", private, "own", datetime.now(UTC))
    (tmp_path / "ca.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (tmp_path / "ca.key").touch(0o600)
    (tmp_path / "ca.key").write_bytes(key_pem(private))
    pair = ("--root-cert", str(tmp_path / "ca.pem"), "--root-key", str(tmp_path / "ca.key"))
    ran = weft("trust", "init", *pair)
    assert ran.code == 1
    assert "has the SPIFFE ID spiffe://example.org" in ran.err
    assert weft("trust", "init", "--trust-domain", "example.org", *pair).code == 0
    found = opening.opened(state / "trust", datetime.now(UTC)).journal.active
    assert found.plugged
    assert found.root == root.public_bytes(Encoding.DER)
