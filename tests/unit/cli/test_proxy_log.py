from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.weft_cli import process

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft


def test_a_proxys_log_is_shown(weft: Weft) -> None:
    weft.agent.answers["GET /v1/processes"] = {"processes": [process("a-v1-0")]}
    weft.agent.answers["GET /v1/processes/default/a-v1-0/logs"] = b"hello\n"
    assert weft("proxy", "log", "a").out == "hello\n"
    assert weft.agent.requests[-1].query == {"proxy": "true", "lines": "100"}


def test_a_level_is_set_and_nothing_shown(weft: Weft) -> None:
    weft.agent.answers["GET /v1/processes"] = {"processes": [process("a-v1-0")]}
    weft.agent.answers["POST /v1/proxies/default/a-v1-0/admin/logging"] = b"active loggers:\n"
    ran = weft("proxy", "log", "a-v1-0", "--level", "debug")
    assert (ran.code, ran.out) == (0, "")
    assert weft.agent.requests[-1].query == {"level": "debug"}
    assert weft("proxy", "log", "a-v1-0", "--level", "loud").code == 2


def test_the_egress_proxy_has_a_log_too(weft: Weft) -> None:
    rows = [process("here", kind="egress", namespace="weft-system", state="running")]
    weft.agent.answers["GET /v1/processes"] = {"processes": rows}
    weft.agent.answers["GET /v1/processes/weft-system/here/logs"] = b"out\n"
    assert weft("proxy", "log", "here", "-n", "weft-system").out == "out\n"
    assert weft("ps", "-A").out == ""
