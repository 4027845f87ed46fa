from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.weft_cli import Weft, process
from weft.cli import processes
from weft.cli.client import Absent, Client, Failed

if TYPE_CHECKING:
    from collections.abc import Callable

FOUND = [process("reviews-v1-0"), process("reviews-v2-0"), process("reviews-v2-1"), process("cart-v1-0", namespace="x")]


@pytest.mark.parametrize(("name", "count"), [("reviews", 3), ("reviews-v2", 2), ("reviews-v2-1", 1)])
def test_a_name_means_an_instance_a_version_or_a_service(name: str, count: int) -> None:
    assert len(processes.matching(FOUND, name, "default")) == count


def test_a_name_of_another_namespace_means_nothing_here() -> None:
    with pytest.raises(Failed, match="weft ps -A"):
        processes.matching(FOUND, "cart", "default")


def test_an_absent_server_is_waited_for() -> None:
    calls: list[int] = []

    def late() -> bool:
        calls.append(1)
        if len(calls) < 2:
            raise Absent
        return True

    assert processes.wait_for(late, 5)
    never: Callable[[], bool] = lambda: False  # noqa: E731 - as short as it is
    assert not processes.wait_for(never, 0)


def test_what_shall_run_and_does_not_is_unsettled(weft: Weft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_HOST", "here")
    names = [{"namespace": "default", "name": name} for name in ("a-v1-0", "b-v1-0", "c-v1-0")]
    weft.control.answers["GET /weft/v1/placements"] = {"processes": names, "gateways": []}
    rows = [process("a-v1-0"), process("b-v1-0", state="starting")]
    rows += [process("a-v1-0~next", state="starting"), process("c-v1-0"), process("c-v1-0~next", state="crash-loop")]
    weft.agent.answers["GET /v1/processes"] = {"processes": rows}
    agent, control = Client(str(weft.agent.path)), Client(str(weft.control.path))
    assert processes.unsettled(agent, control) == ["b-v1-0", "a-v1-0~next"]
    assert weft.control.asked("GET", "/weft/v1/placements").query == {"host": "here"}


def test_a_gateways_addresses_are_those_that_it_could_bind() -> None:
    urls = ["http://127.0.0.1:8080", "http://127.0.0.1:9000"]
    gateway = process("edge", kind="gateway", ports=["80->8080", "9000"], urls=urls)
    assert processes.addresses(gateway) == urls
    assert processes.addresses(process("a-v1-0")) == []
