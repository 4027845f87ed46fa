from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.weft_cli import process

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft


def test_what_runs_is_restarted_and_what_is_stopped_is_started(weft: Weft) -> None:
    weft.agent.answers["GET /v1/processes"] = {"processes": [process("a-v1-0"), process("a-v1-1", state="stopped")]}
    weft.agent.answers["POST /v1/processes/default/a-v1-0/restart"] = {}
    weft.agent.answers["POST /v1/processes/default/a-v1-1/start"] = {}
    ran = weft("restart", "a")
    assert (ran.code, ran.out) == (0, "a-v1-0 restarted\na-v1-1 restarted\n")
