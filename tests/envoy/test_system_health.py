"""What the agent does with applications that are ill, on the running system: their checks, their logs, their remains."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support import meshes, system, verbs
from tests.support.meshes import echo, front, service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.system import System

pytestmark = [pytest.mark.envoy, pytest.mark.anyio, pytest.mark.needs("curl")]

APPS: Final = system.ROOT / "tests" / "support" / "apps"
LOG_BYTES: Final = 16384
MESH: Final = meshes.mesh(
    front(),
    echo("back", "replicas: 2", "health: {http: /, intervalSeconds: 0.1}"),
    service(
        "checked",
        f"command: [{sys.executable}, {APPS / 'checked.py'}]",
        "port: 9090",
        "protocol: grpc",
        "env: {HEALTH_FILE: HEALTH_FILE_HERE}",
        "health: {grpc: true, intervalSeconds: 0.1}",
    ),
    service("six", f'command: [{sys.executable}, -m, http.server, "8080", --bind, "::1"]', "port: 8080"),
    service("daemon", f"command: [{sys.executable}, {APPS / 'daemon.py'}]", "capture: proxy"),
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def app(mesh: System, name: str) -> dict[str, Any]:
    """The row of an application; nothing before there is one."""
    return next(
        (row for row in await mesh.rows() if (row["name"], row["kind"]) == (name, "app")), {"state": "", "reason": ""}
    )


async def curl(mesh: System, workload: str, path: str) -> None:
    """Ask an application where only it is, past every proxy."""
    done = await verbs.weft(mesh, "exec", workload, "--", "curl", "-sS", f"http://127.0.0.1:8080{path}")
    assert done.code == 0, done


async def until_state(mesh: System, name: str, state: str) -> None:
    async def reached() -> bool:
        return bool((await app(mesh, name))["state"] == state)

    await mesh.until(reached, f"{name} is {state}")


async def answering(mesh: System, count: int) -> Counter[str]:
    """Which instances answer so many calls, one after the other; every call must succeed."""
    found: Counter[str] = Counter()
    for _ in range(count):
        status, body = await mesh.get("/call/back/")
        assert status == 200, body
        found[body.split(" ")[2]] += 1
    return found


async def test_applications_that_are_ill_get_no_calls_and_are_told_apart(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = tmp_path_factory.mktemp("health") / "status"
    file.write_text("2")
    text = MESH.replace("HEALTH_FILE_HERE", str(file))
    async with system.running(text, serving=False, log_bytes=str(LOG_BYTES)) as mesh:
        for name in ("front-v1-0", "back-v1-0", "back-v1-1"):
            await until_state(mesh, name, "serving")
        await mesh.until_answered("/call/back/")

        # http: one of two answers 503, gets no calls, is healed, and gets calls again
        await curl(mesh, "back-v1-1", "/mode/503")
        await until_state(mesh, "back-v1-1", "failing")

        async def only_the_other() -> bool:
            return set(await answering(mesh, 10)) == {"default/back-v1-0"}

        await mesh.until(only_the_other, "only the healthy one is called")
        await curl(mesh, "back-v1-1", "/mode/200")
        await until_state(mesh, "back-v1-1", "serving")

        async def both() -> bool:
            return len(await answering(mesh, 10)) == 2

        await mesh.until(both, "both are called")

        # grpc: what it says of itself decides, although it listens
        row = await app(mesh, "checked-v1-0")
        assert (row["state"], row["restarts"]) == ("starting", 0)
        for status, state in (("1", "serving"), ("2", "failing"), ("1", "serving")):
            file.write_text(status)
            await until_state(mesh, "checked-v1-0", state)

        # an address that its proxy does not call
        async def told() -> bool:
            return "[::1] only" in (await app(mesh, "six-v1-0"))["reason"]

        await mesh.until(told, "it says where it listens")
        assert (await app(mesh, "six-v1-0"))["state"] == "starting"
        await logs_stay_small(mesh)
    # That nothing of it runs any more, the daemon included, running() has seen to.


async def logs_stay_small(mesh: System) -> None:
    """Of the application that prints without end, and of the proxy that logs requests, while both go on writing."""
    logs = mesh.state / "logs"
    for log in (logs / "sidecar.default.daemon-v1-0.log", *logs.glob("gateway.*.proxy.log")):
        older = log.with_name(f"{log.name}.1")

        async def cut(log: Path = log, older: Path = older) -> bool:
            await answering(mesh, 10)
            return older.exists() and log.stat().st_size > 0  # noqa: ASYNC240 - a test

        await mesh.until(cut, f"{log.name} is cut, and goes on")
        assert older.stat().st_size <= LOG_BYTES
        assert b"\0" not in log.read_bytes(), "who writes goes on where the file now ends"
