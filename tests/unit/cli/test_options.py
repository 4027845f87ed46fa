from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weft.cli import options
from weft.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def test_sockets_are_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WEFT_RUNTIME_DIR", str(tmp_path))
    assert options.paths().runtime == tmp_path
    assert options.control().path == str(tmp_path / "control.sock")
    assert options.agent().path == str(tmp_path / "agent.sock")


def test_a_context_is_a_url_or_a_runtime_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEFT_RUNTIME_DIR", "elsewhere")
    monkeypatch.setenv("WEFT_CONTEXT", "")
    assert main(["--context", str(tmp_path), "get", "hr"]) == 1
    assert str(tmp_path / "control.sock") in capsys.readouterr().err
    assert main(["--context", "http://127.0.0.1:1", "get", "hr"]) == 1
    said = capsys.readouterr().err
    assert "does not run there" in said
    assert "WEFT_LISTEN" in said
    assert options.control().path == "http://127.0.0.1:1"
    assert main(["ps"]) == 1
    assert "WFT-1711" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "http://127.0.0.1", "http://:1", "http://a:b", "http://a:1/x"])
def test_what_is_no_url_of_an_api_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEFT_CONTEXT", url)
    assert main(["get", "hr"]) == 2
    assert "WFT-1711" in capsys.readouterr().err
