from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from tests.support.stores import Clock
from weft.identity import authority, journal, opening
from weft.identity.problems import TrustError
from weft.identity.state import State

if TYPE_CHECKING:
    from pathlib import Path

NOW = Clock()()


def test_the_first_start_makes_an_authority_and_the_second_finds_it(tmp_path: Path) -> None:
    first = opening.opened(tmp_path / "trust", NOW)
    second = opening.opened(tmp_path / "trust", NOW)
    assert first.journal == second.journal
    assert first.journal.trust_domain == "local"
    assert [each.state for each in first.journal.authorities] == [State.ACTIVE]


def test_everything_in_it_is_private(tmp_path: Path) -> None:
    opening.opened(tmp_path / "trust", NOW)
    for path in (tmp_path / "trust", *(tmp_path / "trust").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert len(list((tmp_path / "trust" / "keys").iterdir())) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["trust"]


def test_an_empty_directory_is_filled_and_a_damaged_one_never(tmp_path: Path) -> None:
    (tmp_path / "trust").mkdir()
    opening.opened(tmp_path / "trust", NOW)
    (tmp_path / "trust" / journal.NAME).unlink()
    with pytest.raises(TrustError) as refused:
        opening.opened(tmp_path / "trust", NOW)
    assert refused.value.problems[0].code == "WFT-1803"
    assert "it is missing" in str(refused.value)


def test_a_first_start_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    half = tmp_path / ".trust.new"
    (half / "keys").mkdir(parents=True)
    (half / "keys" / "aaaaaa-root.pem").write_text("half")
    assert opening.opened(tmp_path / "trust", NOW).journal.active.chain
    assert not half.exists()


def test_a_link_is_no_directory_of_ours(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "trust").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TrustError) as refused:
        opening.opened(tmp_path / "trust", NOW)
    assert refused.value.problems[0].code == "WFT-1601"


def test_keys_are_checked_when_they_are_needed(tmp_path: Path) -> None:
    found = opening.opened(tmp_path / "trust", NOW)
    (tmp_path / "trust" / "keys" / f"{found.journal.active.issuing_key}.pem").chmod(0o644)
    with pytest.raises(TrustError) as refused:
        authority.issuer(found.journal.active, found.keys)
    assert refused.value.problems[0].code == "WFT-1802"


def test_keys_that_a_step_left_behind_are_deleted_and_unknown_ones_kept(tmp_path: Path) -> None:
    found = opening.opened(tmp_path / "trust", NOW)
    name = found.journal.active.id
    found.keys.generate(f"{name}-issuing-old", "P-256")
    found.keys.generate("ffffff-root", "P-256")
    again = opening.opened(tmp_path / "trust", NOW)
    assert f"{name}-issuing-old" not in again.keys.names()
    assert "ffffff-root" in again.keys.names()
    assert set(again.journal.active.keys) <= set(again.keys.names())


def test_a_directory_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrustError) as refused:
        opening.begin(
            tmp_path / "file" / "trust", "local", NOW, lambda keys: authority.make("local", keys, NOW), "a test"
        )
    assert refused.value.problems[0].code == "WFT-1801"
