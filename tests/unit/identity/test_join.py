"""Join tokens: for one host, for ten minutes, once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from weft.identity import join
from weft.identity.join import LIFE, PREFIX, JoinTokens
from weft.identity.problems import TrustError

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = b"a root certificate"


@pytest.fixture
def tokens(tmp_path: Path) -> JoinTokens:
    return JoinTokens(tmp_path / "join")


def code(tokens: JoinTokens, token: str, host: str, now: datetime = NOW) -> str:
    problem = tokens.redeem(token, host, now)
    return problem.code if problem else ""


def test_a_token_is_good_once(tokens: JoinTokens) -> None:
    token, made = tokens.create("bert", ROOT, "alice", NOW)
    assert (made.host, made.by, made.expires) == ("bert", "alice", int((NOW + LIFE).timestamp()))
    assert [code(tokens, token, "bert"), code(tokens, token, "bert")] == ["", "WFT-1861"]


def test_a_token_is_good_for_its_host_and_not_used_up_by_another(tokens: JoinTokens) -> None:
    token, _ = tokens.create("bert", ROOT, "alice", NOW)
    assert [code(tokens, token, "cleo"), code(tokens, token, "bert")] == ["WFT-1861", ""]


def test_a_token_is_good_for_ten_minutes(tokens: JoinTokens) -> None:
    token, _ = tokens.create("bert", ROOT, "alice", NOW)
    assert code(tokens, token, "bert", NOW + LIFE) == "WFT-1861"
    assert code(tokens, token, "bert", NOW + LIFE - timedelta(seconds=1)) == ""


def test_of_a_hundred_threads_that_redeem_one_token_one_wins(tokens: JoinTokens) -> None:
    token, _ = tokens.create("bert", ROOT, "alice", NOW)
    begin = threading.Barrier(100)
    found: list[str] = []

    def redeem() -> None:
        begin.wait()
        found.append(code(tokens, token, "bert"))

    threads = [threading.Thread(target=redeem) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [""] + ["WFT-1861"] * 99


def test_only_a_hash_of_the_secret_is_kept_and_the_files_are_private(tokens: JoinTokens, tmp_path: Path) -> None:
    token, _ = tokens.create("bert", ROOT, "alice", NOW)
    said = join.parse(token)
    assert said is not None
    [file] = (tmp_path / "join").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    kept = file.read_bytes() + file.name.encode()
    assert said.secret not in kept
    assert said.secret.hex().encode() not in kept
    assert said.secret.hex() not in repr(said)


def test_a_token_names_the_root_that_control_has(tokens: JoinTokens) -> None:
    token, _ = tokens.create("bert", ROOT, "alice", NOW)
    said = join.parse(token)
    assert said is not None
    assert join.pinned(said.fingerprint, (b"another", ROOT)) == ROOT
    assert join.pinned(said.fingerprint, (b"another",)) is None


@pytest.mark.parametrize(
    "text", ["", "weft_", PREFIX, PREFIX + "AAAA", PREFIX + "!" * 86, "x" * 96, PREFIX + "A" * 400]
)
def test_what_is_no_token_is_refused(tokens: JoinTokens, text: str) -> None:
    assert join.parse(text) is None
    assert code(tokens, text, "bert") == "WFT-1861"


def test_tokens_that_wait_are_listed_withdrawn_and_forgotten_in_time(tokens: JoinTokens, tmp_path: Path) -> None:
    token, _ = tokens.create("cleo", ROOT, "alice", NOW)
    tokens.create("bert", ROOT, "alice", NOW)
    assert [each.host for each in tokens.pending(NOW)] == ["bert", "cleo"]
    assert (tokens.withdraw("cleo"), tokens.withdraw("cleo")) == (1, 0)
    assert code(tokens, token, "cleo") == "WFT-1861"
    (tmp_path / "join" / "damaged.json").write_bytes(b"{")
    tokens.create("dora", ROOT, "alice", NOW + LIFE)
    assert [each.host for each in tokens.pending(NOW + LIFE)] == ["dora"]
    assert len(list((tmp_path / "join").iterdir())) == 1


def test_there_are_only_so_many(tokens: JoinTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "MAX_TOKENS", 1)
    tokens.create("bert", ROOT, "alice", NOW)
    with pytest.raises(TrustError, match="WFT-1861"):
        tokens.create("cleo", ROOT, "alice", NOW)


def test_a_directory_of_somebody_elses_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "join").write_text("")
    with pytest.raises(TrustError, match="WFT-1601"):
        JoinTokens(tmp_path / "join").create("bert", ROOT, "alice", NOW)


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("bert", True),
        ("bert-2", True),
        ("known", True),
        ("", False),
        ("a b", False),
        ("-a", False),
        ("a/b", False),
        ("x" * 64, False),
        ("anna", False),
        ("ANNA", False),
        ("known.lan", True),
        ("two-words", False),
    ],
)
def test_a_hosts_name_must_be_one_that_can_be_told_from_the_others(host: str, fits: bool) -> None:
    problem = join.unfit(host, "anna", ("known", "two.words"))
    assert (problem is None) == fits
    assert problem is None or problem.code == "WFT-1862"


def test_an_invitation_by_certificate_is_open_to_its_host_until_it_is_used_up(tokens: JoinTokens) -> None:
    made = tokens.invite("bert", b"a CA", ROOT, "alice", NOW, timedelta(hours=1))
    assert (made.ca, made.root, made.expires) == (b"a CA", join.fingerprint(ROOT), int(NOW.timestamp()) + 3600)
    assert tokens.invited("cleo", NOW) is None
    assert tokens.invited("bert", NOW + timedelta(hours=1)) is None
    found = tokens.invited("bert", NOW)
    assert found is not None
    assert found[1] == made
    assert [tokens.use_up(found[0]), tokens.use_up(found[0])] == [True, False]
    assert tokens.invited("bert", NOW) is None


def test_a_new_invitation_ends_the_one_before_and_no_token(tokens: JoinTokens) -> None:
    token, _ = tokens.create("bert", ROOT, "alice", NOW)
    tokens.invite("bert", b"a CA", ROOT, "alice", NOW)
    before = tokens.invited("bert", NOW)
    tokens.invite("bert", b"another", ROOT, "alice", NOW)
    after = tokens.invited("bert", NOW)
    assert before is not None
    assert after is not None
    assert after[1].ca == b"another"
    assert not tokens.use_up(before[0])
    assert code(tokens, token, "bert") == ""
    assert tokens.withdraw("bert") == 1
    assert tokens.invited("bert", NOW) is None
