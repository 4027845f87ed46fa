from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weft.cli import down
from weft.cli.client import Client, Failed

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft


def test_nothing_to_end_is_no_failure(weft: Weft) -> None:
    weft.agent.close()
    assert weft("down") == (0, "", "Nothing runs here.\n")


def test_the_end_is_waited_for(weft: Weft, monkeypatch: pytest.MonkeyPatch) -> None:
    weft.agent.answers |= {"POST /v1/stop": (202, {}), "GET /v1/processes": {"processes": []}}
    alive = [True, True, False]
    monkeypatch.setattr(down, "answers", lambda _: alive.pop(0))
    assert weft("down").err == "Everything has ended.\n"
    assert alive == []


def test_an_agent_that_stays_is_a_failure(weft: Weft) -> None:
    weft.agent.answers |= {"POST /v1/stop": (202, {}), "GET /v1/processes": {"processes": []}}
    with pytest.raises(Failed, match="still answers"):
        down.stop(Client(str(weft.agent.path)), 0.1)


def test_an_agent_that_cannot_end_is_a_failure(weft: Weft) -> None:
    weft.agent.answers["POST /v1/stop"] = (500, {"message": "oops"})
    assert weft("down").code == 1
