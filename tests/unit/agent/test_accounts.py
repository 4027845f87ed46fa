"""The users that applications run as."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from weft.agent import accounts
from weft.agent.accounts import Account

if TYPE_CHECKING:
    import pytest


def test_a_user_is_found_by_name_and_by_number() -> None:
    root = accounts.find("root")
    assert root == accounts.find("0") == Account(0, 0, "root", "/root")
    assert root is not None
    assert root.environment == {"HOME": "/root", "USER": "root", "LOGNAME": "root"}


def test_a_number_without_an_entry_is_its_own_group_and_a_name_without_one_is_nobody() -> None:
    found = accounts.find("3999999998")
    assert found == Account(3999999998, 3999999998)
    assert found.environment == {"HOME": "/"}
    assert accounts.find("nobody-has-this-name") is None
    assert accounts.find("4294967295") is None


def test_only_root_becomes_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert accounts.refusal("") == accounts.refusal("daemon") == ""
    assert "WFT-1841" in accounts.refusal("nobody-has-this-name")
    assert accounts.to_become("root") == accounts.find("root")
    assert accounts.to_become("") is None
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    assert "WFT-1840" in accounts.refusal("root")
    assert accounts.refusal("1") == ""
    assert accounts.to_become("1") is None
