"""Rows."""

from __future__ import annotations

from weft.agent.child import Status
from weft.agent.machine import reason


def test_only_what_does_not_run_has_a_reason() -> None:
    assert reason(Status(pid=7, reason="before")) == ""
    assert reason(Status(pid=0, reason="exit status 1")) == "exit status 1"
