from __future__ import annotations

from typing import TYPE_CHECKING

from weft.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_sockets_are_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WEFT_RUNTIME_DIR", str(tmp_path))
    assert options.paths().runtime == tmp_path
    assert options.control().path == str(tmp_path / "control.sock")
    assert options.agent().path == str(tmp_path / "agent.sock")
