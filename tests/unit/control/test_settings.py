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


def test_the_bundle_endpoint_has_an_address_and_may_have_a_certificate() -> None:
    environ = {"HOME": "/home/ann", "WEFT_BUNDLE_LISTEN": "0.0.0.0:8443"}
    assert from_environ(environ, 1000).bundle_listen == "0.0.0.0:8443"
    assert from_environ(environ, 1000).bundle_certificate is None
    settings = from_environ({**environ, "WEFT_BUNDLE_CERT": "/c.pem", "WEFT_BUNDLE_KEY": "/k.pem"}, 1000)
    assert (settings.bundle_certificate, settings.bundle_key) == (Path("/c.pem"), Path("/k.pem"))
