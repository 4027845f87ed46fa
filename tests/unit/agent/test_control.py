"""Control as the agent sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import msgspec
import pytest

from tests.unit.agent.test_unix_http import serving
from weft.agent.control import Control, Names
from weft.latest import Latest
from weft.model.mesh import GatewaySpec, Placements
from weft.model.service import HostReport
from weft.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def paths(tmp_path: Path) -> Paths:
    made = Paths(state=tmp_path, runtime=tmp_path)
    made.names.parent.mkdir()
    return made


async def test_placements_say_that_control_is_up_and_their_end_that_it_is_not(tmp_path: Path) -> None:
    control = Control(paths(tmp_path), "here")
    wanted = Placements(gateways=(GatewaySpec("default", "edge", (80,)),))
    head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
    async with (
        serving(tmp_path / "control.sock", head + msgspec.json.encode(wanted) + b"\n") as asked,
        anyio.create_task_group() as group,
    ):
        group.start_soon(control.watch_placements)
        with anyio.fail_after(20):
            _, found = await control.placements.newer_than(0)
            while control.up.serial < 2:
                await control.up.newer_than(control.up.serial)
        group.cancel_scope.cancel()
    assert found == wanted
    assert not control.up.value or control.up.serial > 2
    assert asked[0].startswith(b"GET /weft/v1/placements?host=here&watch=true")


async def test_names_are_kept_in_the_resolvers_file_as_control_said_them(tmp_path: Path) -> None:
    control = Control(paths(tmp_path), "here")
    line = b'{"services": {"a.b": "240.0.0.2"}, "hosts": {}, "outboundTraffic": "allowAny"}\n'
    async with (
        serving(tmp_path / "control.sock", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + line),
        anyio.create_task_group() as group,
    ):
        group.start_soon(control.watch_names)
        with anyio.fail_after(20):
            _, names = await control.names.newer_than(0)
        group.cancel_scope.cancel()
    assert names == Names({"a.b": "240.0.0.2"}, {}, "allowAny")
    assert b'"outboundTraffic":"allowAny"' in (tmp_path / "agent" / "names.json").read_bytes()


@pytest.mark.parametrize(("status", "problem"), [(204, ""), (202, "not believed"), (507, "control answers 507")])
async def test_a_report_is_sent_whole_and_its_refusal_is_remembered(tmp_path: Path, status: int, problem: str) -> None:
    control = Control(paths(tmp_path), "here")
    body = b"" if status == 204 else b"not believed"
    reply = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body
    async with serving(tmp_path / "control.sock", reply) as asked, anyio.create_task_group() as group:
        group.start_soon(control.report, lambda: HostReport(host="here", workloads=()), Latest(None))
        with anyio.fail_after(20):
            while not asked or problem not in control.report_problem:  # noqa: ASYNC110 - no event
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert asked[0].startswith(b"PUT /weft/v1/hosts/here ")
    assert b'{"host":"here","workloads":[],' in asked[0]
