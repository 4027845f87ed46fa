from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.weft_cli import process

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft


def test_every_instance_that_the_names_mean_is_stopped_once(weft: Weft) -> None:
    weft.agent.answers["GET /v1/processes"] = {"processes": [process("a-v1-0"), process("a-v1-1")]}
    weft.agent.answers |= {f"POST /v1/processes/default/{name}/stop": {} for name in ("a-v1-0", "a-v1-1")}
    assert weft("stop", "a", "a-v1-0").out == "a-v1-0 stopped\na-v1-1 stopped\n"


def test_nothing_is_stopped_when_a_name_is_unknown(weft: Weft) -> None:
    weft.agent.answers["GET /v1/processes"] = {"processes": [process("a-v1-0")]}
    assert weft("stop", "a", "b").code == 1
    assert [each.method for each in weft.agent.requests] == ["GET"]


def test_one_that_is_about_to_replace_another_is_stopped_with_it(weft: Weft) -> None:
    weft.agent.answers["GET /v1/processes"] = {
        "processes": [process("a-v1-0"), process("a-v1-0~next", service="a", version="v1")]
    }
    weft.agent.answers["POST /v1/processes/default/a-v1-0/stop"] = {}
    assert weft("stop", "a").out == "a-v1-0 stopped\n"
