"""What the environment tells a control plane."""

from __future__ import annotations

from pathlib import Path

from weft.control.settings import from_environ


def test_files_and_directories_come_from_the_environment() -> None:
    environ = {
        "WEFT_STATE_DIR": "/s",
        "WEFT_RUNTIME_DIR": "/r",
        "WEFT_FILES": "/a/mesh.yaml:/b",
        "WEFT_LISTEN": "127.0.0.1:0",
    }
    settings = from_environ(environ, 1000)
    assert settings.paths.state == Path("/s")
    assert settings.paths.control_socket == Path("/r/control.sock")
    assert settings.files == (Path("/a/mesh.yaml"), Path("/b"))
    assert settings.listen == "127.0.0.1:0"


def test_nothing_has_to_be_said() -> None:
    settings = from_environ({"HOME": "/home/ann"}, 1000)
    assert settings.files == ()
    assert settings.listen == ""
    assert settings.paths.runtime.name == "weft-1000"
