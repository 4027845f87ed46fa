"""Settings from the environment."""

from __future__ import annotations

import socket

import pytest

from weft.agent.settings import SettingsError, door, from_environ
from weft.model.service import Address, Capture


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
        ("WEFT_ADDRESS", "bert.example.com"),
        ("WEFT_ADDRESS", "0.0.0.0"),
        ("WEFT_CONTROL_ADDRESS", "anna"),
        ("WEFT_CONTROL_ADDRESS", "10.0.0.1:x"),
    ],
)
def test_a_value_that_is_none_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is '{value}'"):
        from_environ({name: value})


def test_a_host_that_joined_runs_no_control_plane() -> None:
    found = from_environ({"WEFT_CONTROL_ADDRESS": "10.0.0.1:15012", "WEFT_ADDRESS": "10.0.0.2", "WEFT_CONTROL": "yes"})
    assert (found.control, found.control_address, found.address) == (False, "10.0.0.1:15012", "10.0.0.2")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("10.0.0.1", Address(ip="10.0.0.1", port=15012)),
        ("10.0.0.1:99", Address(ip="10.0.0.1", port=99)),
        ("fd00::1", Address(ip="fd00::1", port=15012)),
        ("[fd00::1]", Address(ip="fd00::1", port=15012)),
        ("[fd00::1]:99", Address(ip="fd00::1", port=99)),
        ("", None),
        ("anna:15012", None),
        ("10.0.0.1:0", None),
        ("10.0.0.1:70000", None),
    ],
)
def test_the_address_of_a_door_may_leave_out_its_port(text: str, where: Address | None) -> None:
    assert door(text) == where
