"""A whole control plane on sockets in a temporary directory."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest

from weft.control import __main__ as command
from weft.control.run import run
from weft.control.settings import Settings
from weft.paths import Paths
from weft.sources.lock import UnusableError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

ROUTE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    manifest = tmp_path / "web.yaml"
    manifest.write_text(ROUTE)
    return Settings(paths=Paths(tmp_path / "s", tmp_path / "r"), files=(manifest,), listen="127.0.0.1:0")


def client(settings: Settings) -> httpx2.AsyncClient:
    transport = httpx2.AsyncHTTPTransport(uds=str(settings.paths.control_socket))
    return httpx2.AsyncClient(transport=transport, base_url="http://weft", timeout=10)


async def until_ready(settings: Settings) -> httpx2.Response:
    with anyio.fail_after(20):
        while True:
            try:
                async with client(settings) as api:
                    answer = await api.get("/readyz")
                if answer.status_code == 200:
                    return answer
            except httpx2.TransportError:
                pass
            await anyio.lowlevel.checkpoint()


async def test_a_control_plane_reads_its_files_serves_its_api_and_opens_xds(settings: Settings) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, settings)
        await until_ready(settings)
        async with client(settings) as api:
            names = (await api.get("/weft/v1/names")).json()
            metrics = (await api.get("/metrics")).text
        assert list(names["services"]) == ["web.default"]
        assert "weft_settle_runs_total" in metrics
        for path in (settings.paths.control_socket, settings.paths.xds_socket):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as xds:
            xds.connect(str(settings.paths.xds_socket))
        assert stat.S_IMODE((settings.paths.state / "api-token").stat().st_mode) == 0o600
        tasks.cancel_scope.cancel()


async def test_a_second_control_plane_on_the_same_directory_refuses(settings: Settings) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, settings)
        await until_ready(settings)
        with pytest.raises(ExceptionGroup) as refused:
            await run(settings)
        (error,) = refused.value.exceptions
        assert isinstance(error, UnusableError)
        assert error.problem.code == "WFT-1503"
        tasks.cancel_scope.cancel()


async def test_the_command_says_why_it_cannot_start_and_ends_on_a_signal(tmp_path: Path) -> None:
    settings = Settings(paths=Paths(tmp_path / "s", tmp_path / "r"))
    environ = {**os.environ, "WEFT_STATE_DIR": str(tmp_path / "s"), "WEFT_RUNTIME_DIR": str(tmp_path / "r")}
    arguments = [sys.executable, "-m", "weft.control"]
    async with await anyio.open_process(arguments, env=environ) as first:
        try:
            await until_ready(settings)
            second = await anyio.run_process(arguments, env=environ, check=False)
            assert second.returncode == 1
            assert second.stderr.decode().startswith("error WFT-1503: ")
            assert b"Traceback" not in second.stderr
        finally:
            first.send_signal(signal.SIGTERM)
        with anyio.fail_after(20):
            assert await first.wait() == 0


def test_a_directory_that_cannot_be_used_is_a_problem_and_not_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s").write_text("a file")
    monkeypatch.setenv("WEFT_STATE_DIR", str(tmp_path / "s"))
    monkeypatch.setenv("WEFT_RUNTIME_DIR", str(tmp_path / "r"))
    kept: list[bool] = []
    monkeypatch.setattr(command, "keep_private", lambda: kept.append(True))
    assert command.main() == 1
    assert kept == [True]
    assert "error WFT-1601" in capsys.readouterr().err
