"""Settings from the environment."""

from __future__ import annotations

import socket

import pytest

from weft.agent.settings import SettingsError, from_environ
from weft.model.service import Capture


def test_nothing_has_to_be_chosen() -> None:
    found = from_environ({"HOME": "/h"})
    assert (found.capture, found.control, found.keep) == (None, True, False)
    assert found.host == socket.gethostname()
    assert found.environment == (("HOME", "/h"),)


def test_every_variable_counts() -> None:
    found = from_environ(
        {"WEFT_CAPTURE": "ports", "WEFT_CONTROL": "no", "WEFT_KEEP": "1", "WEFT_DRAIN_SECONDS": "2.5", "WEFT_HOST": "h"}
    )
    assert (found.capture, found.control, found.keep, found.drain_seconds) == (Capture.PORTS, False, True, 2.5)
    assert found.host == "h"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEFT_CAPTURE", "magic"),
        ("WEFT_CONTROL", "perhaps"),
        ("WEFT_GRACE_SECONDS", "-1"),
        ("WEFT_DRAIN_SECONDS", "x"),
        ("WEFT_LOG_BYTES", "10"),
    ],
)
def test_a_value_that_is_none_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is '{value}'"):
        from_environ({name: value})
