from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.weft_cli import process

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft


def logs(name: str) -> str:
    return f"GET /v1/processes/default/{name}/logs"


def test_the_lines_of_one_instance_are_its_own(weft: Weft) -> None:
    weft.agent.answers |= {"GET /v1/processes": {"processes": [process("a-v1-0")]}, logs("a-v1-0"): b"one\n\xff\n"}
    assert weft("logs", "a", "--lines", "5", "--proxy").out == "one\n\ufffd\n"
    asked = weft.agent.asked("GET", "/v1/processes/default/a-v1-0/logs")
    assert asked.query == {"lines": "5", "proxy": "true"}


def test_several_instances_say_who_speaks(weft: Weft) -> None:
    rows = [process("a-v1-0"), process("a-canary-0")]
    weft.agent.answers |= {"GET /v1/processes": {"processes": rows}, logs("a-v1-0"): b"1\n", logs("a-canary-0"): b"2\n"}
    assert weft("logs", "a").out == "a-canary-0 | 2\na-v1-0     | 1\n"
    assert sorted(weft("logs", "-f", "a").out.splitlines()) == ["a-canary-0 | 2", "a-v1-0     | 1"]


def test_wefts_own_logs_have_names(weft: Weft) -> None:
    weft.agent.answers["GET /v1/processes/control/logs"] = b"started\n"
    assert weft("logs", "weft-control").out == "started\n"
