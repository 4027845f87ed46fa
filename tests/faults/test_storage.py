"""Promises G1, G2, G3 and G7 on the running system: whatever happens to the store, calls go on and no word given is broken.

What the store itself promises is held more closely by ``test_store.py``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2
import pytest

from tests.support.figures import LOAD_SECONDS, figure
from tests.support.system import SHOP, System, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

CALL: Final = "/call/back/"
KILLS: Final = 3


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def mesh() -> AsyncIterator[System]:
    async with running() as system:
        await system.until_answered(CALL)
        yield system


def service(name: str, text: str = "") -> str:
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, annotations: {{text: "{text}"}}}}
spec: {{selector: {{app: back}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
"""


async def apply(mesh: System, text: str) -> dict[str, Any]:
    """The answer to an apply, or the ``Status`` that refuses all of it."""
    transport = httpx2.AsyncHTTPTransport(uds=str(mesh.runtime / "control.sock"))
    async with httpx2.AsyncClient(transport=transport, base_url="http://weft", timeout=30) as client:
        return dict((await client.post("/weft/v1/apply?owner=test", content=text.encode())).json())


async def names(mesh: System) -> set[str]:
    items = (await mesh.ask("/api/v1/namespaces/default/services"))["items"]
    return {item["metadata"]["name"] for item in items}


async def is_ready(mesh: System) -> bool:
    return bool((await mesh.ask("/version"))["version"]) and bool(await mesh.proxies())


async def test_killed_while_it_writes_the_control_plane_loses_nothing_it_acknowledged(mesh: System) -> None:
    """G2, and no call fails."""
    acknowledged = 0
    stop = asyncio.Event()

    async def write() -> None:
        nonlocal acknowledged
        while not stop.is_set():
            try:
                await apply(mesh, service(f"written-{acknowledged}"))
            except (httpx2.TransportError, OSError):
                await asyncio.sleep(0.02)
            else:
                acknowledged += 1

    async def kill() -> None:
        writer = asyncio.create_task(write())
        for _ in range(KILLS):
            before = acknowledged
            await mesh.until(lambda before=before: more_than(before + 3), "some writes")  # type: ignore[misc]  # a default in a lambda
            pid = await mesh.kill("control", "control")
            await mesh.until(lambda pid=pid: other(mesh, pid), "another control plane")  # type: ignore[misc]  # as above
        stop.set()
        await writer

    async def more_than(count: int) -> bool:
        return acknowledged > count

    found = await mesh.during(CALL, max(LOAD_SECONDS, 5), kill, after=0.2)
    figure("G2", f"{KILLS} kills, {acknowledged} acknowledged writes kept; {found.failed} of {found.sent} calls failed")
    assert found.failed == 0, found.failures
    assert {f"written-{number}" for number in range(acknowledged)} <= await names(mesh)
    revisions = [item["revision"] for item in (await mesh.ask("/weft/v1/history"))["items"]]
    assert revisions == sorted(set(revisions))


async def other(mesh: System, pid: int) -> bool:
    return (await mesh.row("control", "control"))["pid"] not in (0, pid) and await is_ready(mesh)


async def test_a_corrupt_store_is_refused_by_name_left_as_it_is_and_calls_go_on(mesh: System) -> None:
    """G3."""
    database = mesh.state / "weft.db"
    await apply(mesh, service("kept"))
    rubbish = b"\x00" * 8192

    async def refused() -> bool:
        return "WFT-1502" in (mesh.state / "logs" / "control.log").read_text(errors="replace")

    healthy = dict[Path, bytes]()

    async def corrupt() -> None:
        pid = (await mesh.row("control", "control"))["pid"]
        os.kill(pid, signal.SIGSTOP)
        healthy.update({path: path.read_bytes() for path in mesh.state.glob("weft.db*")})
        for path in healthy:
            path.unlink()
        database.write_bytes(rubbish)
        os.kill(pid, signal.SIGKILL)
        await mesh.until(refused, "the control plane says why it does not start")

    found = await mesh.during(CALL, LOAD_SECONDS, corrupt, after=0.2)
    figure("G3", f"{found.failed} of {found.sent} calls failed")
    assert found.failed == 0, found.failures
    assert database.read_bytes() == rubbish
    for path, content in healthy.items():
        path.write_bytes(content)
    await mesh.until(lambda: is_ready(mesh), "the control plane is back")
    assert "kept" in await names(mesh)
    assert (await mesh.get(CALL))[0] == 200


async def test_a_second_control_plane_refuses_the_directory_and_the_first_goes_on(mesh: System) -> None:
    """G7."""
    pid = (await mesh.row("control", "control"))["pid"]
    second = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "weft.control"),
        env=mesh.environ | {"WEFT_RUNTIME_DIR": str(mesh.directory / "other")},
        cwd=mesh.directory,
        stderr=subprocess.PIPE,
    )
    _, talk = await asyncio.wait_for(second.communicate(), 30)
    assert second.returncode == 1
    assert b"WFT-1503" in talk
    assert str(pid).encode() in talk
    assert (await mesh.row("control", "control"))["pid"] == pid
    assert (await mesh.get(CALL))[0] == 200


@asynccontextmanager
async def small_state() -> AsyncIterator[System]:
    """A system whose state directory is a file system of 8 MB."""
    directory = Path(tempfile.mkdtemp(prefix="weft-"))
    system = System(directory, SHOP, {})
    system.state.mkdir(mode=0o700)
    made = subprocess.run(  # noqa: ASYNC221 - nothing else runs yet
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(system.state)], capture_output=True, check=False
    )
    if made.returncode:
        shutil.rmtree(directory)
        pytest.skip(f"no small file system can be mounted here: {made.stderr.decode().strip()}")
    try:
        await system.start()
        await system.until_serving()
        yield system
    finally:
        await system.stop()
        subprocess.run(["umount", "--lazy", str(system.state)], check=True)  # noqa: ASYNC221 - as above
        shutil.rmtree(directory)


@pytest.mark.needs("mount", "umount")
async def test_a_full_disk_refuses_writes_and_calls_go_on() -> None:
    """G1: the whole weft on a file system that fills up."""
    async with small_state() as mesh:
        await mesh.until_answered(CALL)
        await apply(mesh, service("before"))
        filler = mesh.state / "filler"

        async def fill() -> None:
            with filler.open("wb", buffering=0) as file:
                while True:
                    try:
                        if not file.write(b"x" * 65_536):
                            break
                    except OSError:
                        break
            for number in range(100):
                answer = await apply(mesh, service(f"too-much-{number}", "x" * 50_000))
                if answer.get("kind") == "Status":
                    break
            assert answer["code"] == 507
            assert [each["code"] for each in answer["details"]["problems"]] == ["WFT-1504"]

        found = await mesh.during(CALL, LOAD_SECONDS, fill, after=0.2)
        figure("G1", f"{found.failed} of {found.sent} calls failed")
        assert found.failed == 0, found.failures
        assert "before" in await names(mesh)
        filler.unlink()
        answer = await apply(mesh, service("after"))
        assert [each["verb"] for each in answer["results"]] == ["created"]
        assert {"before", "after"} <= await names(mesh)
