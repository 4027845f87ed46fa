from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support.stores import Clock
from weft.sources import tokens as stored
from weft.sources.lock import UnusableError
from weft.sources.tokens import PREFIX, Role, Tokens

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_secret_is_shown_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    tokens = await Tokens.open(tmp_path, Clock())
    token, secret = await tokens.create("ci", Role.EDITOR, 0, "root")
    assert secret.startswith(PREFIX)
    assert len(secret) == len(PREFIX) + 43
    assert secret not in (tmp_path / "tokens.json").read_text()
    assert tokens.find(secret) == token
    assert (await Tokens.open(tmp_path, Clock())).find(secret) == token


@pytest.mark.parametrize("change", ["", "x", "X" * 10_000, "é", "\ud800"])
async def test_another_secret_finds_nothing(tmp_path: Path, change: str) -> None:
    tokens = await Tokens.open(tmp_path, Clock())
    token, secret = await tokens.create("ci", Role.ADMIN, 0, "root")
    assert tokens.find(change) is None
    assert tokens.find(token.hash) is None
    assert tokens.find(secret[:-1]) is None
    assert tokens.find(secret + change) is (token if not change else None)


async def test_a_token_ends_at_its_time_and_its_name_is_free_again(tmp_path: Path) -> None:
    clock = Clock()
    tokens = await Tokens.open(tmp_path, clock)
    _, secret = await tokens.create("ci", Role.VIEWER, 60, "root")
    clock.advance(59)
    assert tokens.find(secret)
    assert tokens.taken("ci")
    clock.advance(1)
    assert tokens.find(secret) is None
    assert not tokens.taken("ci")
    assert [token.name for token in tokens.items] == ["ci"]


async def test_a_revoked_token_is_gone_at_once_and_after_a_restart(tmp_path: Path) -> None:
    tokens = await Tokens.open(tmp_path, Clock())
    _, secret = await tokens.create("ci", Role.VIEWER, 0, "root")
    assert await tokens.revoke("ci")
    assert not await tokens.revoke("ci")
    assert tokens.find(secret) is None
    assert (await Tokens.open(tmp_path, Clock())).items == ()


async def test_what_was_found_holds_until_it_is_revoked_replaced_or_over(tmp_path: Path) -> None:
    clock = Clock()
    tokens = await Tokens.open(tmp_path, clock)
    tokens.admit("api-token", Role.ADMIN, "elsewhere")
    kept = tokens.find("elsewhere")
    assert kept is not None
    assert tokens.holds(kept)
    made, _ = await tokens.create("ci", Role.VIEWER, 60, "root")
    assert tokens.holds(made)
    clock.advance(60)
    assert not tokens.holds(made)
    again, _ = await tokens.create("ci", Role.VIEWER, 60, "root")
    assert (tokens.holds(made), tokens.holds(again)) == (False, True)
    await tokens.revoke("ci")
    assert not tokens.holds(again)


async def test_a_token_that_is_made_meanwhile_does_not_bring_a_revoked_one_back(tmp_path: Path) -> None:
    tokens = await Tokens.open(tmp_path, Clock())
    _, leaked = await tokens.create("leaked", Role.ADMIN, 0, "root")
    made: list[str] = []

    async def create(name: str) -> None:
        made.append((await tokens.create(name, Role.VIEWER, 0, "root"))[1])

    async with anyio.create_task_group() as group:
        group.start_soon(create, "before")
        group.start_soon(tokens.revoke, "leaked")
        group.start_soon(create, "after")
    assert tokens.find(leaked) is None
    assert (await Tokens.open(tmp_path, Clock())).find(leaked) is None
    assert [token.name for token in tokens.items] == ["after", "before"]
    assert all(tokens.find(secret) for secret in made)


async def test_a_token_that_is_kept_elsewhere_is_not_listed(tmp_path: Path) -> None:
    tokens = await Tokens.open(tmp_path, Clock())
    tokens.admit("api-token", Role.ADMIN, "s" * 43)
    found = tokens.find("s" * 43)
    assert found
    assert (found.name, found.role) == ("api-token", Role.ADMIN)
    assert tokens.items == ()
    assert tokens.taken("api-token")
    assert not await tokens.revoke("api-token")


async def test_a_disk_that_refuses_leaves_what_was_there(tmp_path: Path) -> None:
    tokens = await Tokens.open(tmp_path / "state", Clock())
    with pytest.raises(UnusableError, match="WFT-1504"):
        await tokens.create("ci", Role.VIEWER, 0, "root")
    assert tokens.items == ()


async def test_there_is_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MAX_TOKENS", 1)
    tokens = await Tokens.open(tmp_path, Clock())
    assert not tokens.full
    await tokens.create("ci", Role.VIEWER, 0, "root")
    assert tokens.full
