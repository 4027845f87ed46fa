"""Several hosts as one mesh: every call from each to each, over the real proxies, agents and network namespaces."""

from __future__ import annotations

import sys
from typing import Final

import pytest

from tests.support import hosts, meshes, system
from tests.support.hosts import Rig, rig
from tests.support.meshes import echo, front

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.anyio,
    pytest.mark.needs("ip", "nsenter"),
    pytest.mark.skipif(not hosts.can(), reason="making network namespaces needs root"),
]

HELLO: Final = system.ROOT / "tests" / "support" / "apps" / "hello.py"
MARKER: Final = "xyzzy-marker-5c1f"
LISTEN: Final = """
import os, socket, sys
name = sys.argv[1]
prefix = name.upper().replace("-", "_")
where = os.environ.get(f"{prefix}_HOST", name), int(os.environ.get(f"{prefix}_PORT", "2525"))
with socket.create_connection(where, timeout=10) as connection:
    print(connection.recv(200).decode().strip())
"""
"""Prints what a server says that speaks first, found by name or by the variables of ``ports`` capture."""


def mesh(names: tuple[str, ...], capture: str) -> str:
    """On each host one service that speaks HTTP and calls, and one that speaks TCP."""
    needs = ", ".join(f"mail-{name}" for name in names)
    services = "".join(
        f"""
    web-{name}:
      command: [{sys.executable}, {system.ECHO}]
      ports: [{{name: http, port: 80, targetPort: 8080}}]
      needs: [{needs}]
      capture: {capture}
      hosts: [{name}]
      {"expose: {port: 8080}" if name == names[0] else ""}
    mail-{name}:
      command: [{sys.executable}, {HELLO}]
      port: 2525
      protocol: tcp
      capture: {capture}
      hosts: [{name}]
"""
        for name in names
    )
    return f"apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: test}}\nspec:\n  services:{services}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def called(made: Rig, caller: str, callee: str) -> str:
    """What ``web-CALLEE`` answers to ``web-CALLER``, asked from outside through the gateway of the first host."""
    path = f"/call/web-{callee}/" if caller == made.control.name else f"/call/web-{caller}/call/web-{callee}/"
    status, body = await made.control.get(path)
    assert status == 200, (caller, callee, status, body)
    return body


@pytest.mark.parametrize("capture", ["proxy", "transparent"])
async def test_every_host_calls_every_host_by_http_and_tcp(capture: str) -> None:
    names = hosts.NAMES[:3]
    async with rig(mesh(names, capture), 3) as made:
        await made.until_everything_serves()
        await made.control.until_answered("/call/web-cleo/")
        for caller in names:
            for callee in names:
                assert (await called(made, caller, callee)).startswith(f"web-{callee} v1 ")
                said = await made[caller].weft(
                    "exec", f"web-{caller}-v1-0", "--", sys.executable, "-c", LISTEN, f"mail-{callee}"
                )
                assert said[:2] == (0, f"220 mail-{callee} is ready\n"), (caller, callee, said)
        assert (await made.control.ask("/weft/v1/problems"))["problems"] == []


async def test_replicas_on_one_other_host_all_get_calls_and_nothing_is_in_the_clear_on_the_wire() -> None:
    text = meshes.mesh(front(), echo("back", "replicas: 3", "hosts: [bert]"))
    async with rig(text, 2) as made:
        await made.until_everything_serves()
        await made.control.until_answered("/call/back/")
        with made.sniffed() as seen:
            answers = [await made.control.get(f"/call/back/{MARKER}/{number}") for number in range(60)]
        assert {status for status, _ in answers} == {200}
        assert {body.split()[2] for _, body in answers} == {f"default/back-v1-{number}" for number in range(3)}
        crossing = hosts.between(bytes(seen), made.control.address, made["bert"].address)
        assert len(crossing) > 10_000, "the calls crossed the cable"
        assert MARKER.encode() not in crossing


async def test_a_command_that_is_run_on_a_joined_host_runs_there_and_is_called_from_elsewhere() -> None:
    async with rig(mesh(("anna",), "proxy"), 2) as made:
        await made.until_everything_serves()
        bert = made["bert"]
        code, out, err = await made.control.weft("token", "create", "ops", "--role", "editor")
        assert code == 0, (out, err)
        words = ("run", "extra", "-d", "--port", "8080", "--env", "PORT=8080", "--mode", "transparent", "--")
        refused = await bert.weft(*words, sys.executable, str(system.ECHO))
        assert (refused[0], "WFT-1513" in refused[2]) == (1, True), refused
        done = await bert.weft(*words, sys.executable, str(system.ECHO), WEFT_TOKEN=out.strip())
        assert done[0] == 0, done
        assert {row["name"] for row in await bert.rows() if row["kind"] == "app"} == {"extra-v1-0"}
        await made.control.until_answered("/call/extra:8080/")
        _, shown, _ = await made.control.weft("ps", "--hosts")
        assert [line.split()[:3] for line in shown.splitlines()[1:] if line.startswith("bert")] == [
            ["bert", "default", "extra-v1-0"]
        ]
