"""The agent as a whole, in process; with proxies and control: tests/envoy/test_agent.py."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import anyio
import msgspec
import pytest

from weft.agent import agent, unix_http
from weft.agent.settings import from_environ
from weft.model.service import Address

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def environ(tmp_path: Path) -> dict[str, str]:
    directories = {"WEFT_STATE_DIR": str(tmp_path / "s"), "WEFT_RUNTIME_DIR": str(tmp_path / "r")}
    return dict(os.environ) | directories | {"WEFT_CONTROL": "false", "WEFT_HOST": "here"}


def test_only_one_agent_holds_a_state_directory(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        agent.alone(lock),
        pytest.raises(agent.CannotRunError, match=f"WFT-1603.*pid {os.getpid()}"),
        agent.alone(lock),
    ):
        pass
    with agent.alone(lock):
        pass


async def test_it_refuses_to_run_without_envoy_or_with_directories_of_others(tmp_path: Path) -> None:
    with pytest.raises(agent.CannotRunError, match="WFT-1605"):
        await agent.run(from_environ(environ(tmp_path) | {"WEFT_ENVOY": "/absent"}))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(agent.CannotRunError, match="WFT-1601"):
        await agent.run(from_environ(environ(tmp_path) | {"WEFT_STATE_DIR": str(tmp_path / "link")}))


async def test_it_runs_its_own_processes_answers_and_ends_when_told(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(from_environ(environ(tmp_path)), grace_seconds=5)
    address = Address(path=str(settings.paths.agent_socket))

    async def kinds() -> dict[str, str]:
        try:
            rows = json.loads((await unix_http.request(address, "GET", "/v1/processes")).body)["processes"]
        except unix_http.HttpError:
            return {}
        return {row["kind"]: row["state"] for row in rows}

    async with anyio.create_task_group() as group:
        group.start_soon(agent.run, settings)
        with anyio.fail_after(20):
            while (await kinds()).get("agent") != "running":  # noqa: ASYNC110 - no event
                await anyio.sleep(0.02)
        assert (await unix_http.request(address, "GET", "/v1/processes/agent/logs")).status == 200
        assert (await unix_http.request(address, "POST", "/v1/processes/absent/stop")).status == 404
        assert (await unix_http.request(address, "POST", "/v1/stop")).status == 202
    assert not list(settings.paths.records.iterdir())
