"""The verbs on the running system: each does what its help says, with its exit code."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.support import system, verbs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

BROKEN: Final = """\
# a comment, so that the object does not begin at the first line
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: back}
spec:
  parentRefs: [{group: "", kind: Service, name: back}]
  rules:
  - backendRefs: [{name: back-v1, port: 80, weight: 9}]
  - backendRefs: [{name: nowhere, port: 80}]
"""
NAMES: Final = "jsonpath={.spec.rules[*].backendRefs[*].name}"
APP: Final = (sys.executable, str(system.ECHO))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def changed(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


async def test_configuration_is_applied_explained_edited_and_taken_back() -> None:
    async with system.running() as mesh:
        weft = verbs.weft
        changed(mesh.directory / "route.yaml", BROKEN)
        diff = await weft(mesh, "diff", "-f", "route.yaml")
        assert (diff.code, diff.out.splitlines()[0]) == (3, "httproute/back created (dry run)")
        applied = await weft(mesh, "apply", "-f", "route.yaml")
        assert (applied.code, applied.out) == (1, "httproute/back created\n")
        # What shows only in the whole mesh has the place in the user's file, now and later.
        place = "at   route.yaml:9:26 (HTTPRoute default/back), field spec.rules[1].backendRefs[0].name"
        assert place in applied.err
        assert place in (await weft(mesh, "describe", "hr/back")).out
        assert (await weft(mesh, "check", "route.yaml")).code == 3

        edited = await weft(mesh, "edit", "hr/back", EDITOR="sed -i s/nowhere/back-v2/")
        assert (edited.code, edited.out) == (0, "httproute/back configured\n")
        refused = await weft(mesh, "edit", "hr/back", EDITOR="sed -i s/weight/wieght/")
        assert refused.code == 1
        assert "at   edit:" in refused.err
        shown = await weft(mesh, "get", "hr/back", "-o", NAMES)
        assert shown.out == "back-v1 back-v2\n"
        split = await weft(mesh, "route", "split", "back", "v1=1", "v2=3")
        assert split.code == 0

        history = await weft(mesh, "history", "hr/back", "-o", "json")
        revisions = [item["revision"] for item in json.loads(history.out)["items"]]
        assert len(revisions) == 3
        back = await weft(mesh, "rollback", str(revisions[1]), "hr/back")
        assert (back.code, back.out) == (0, "httproute/back configured\n")
        assert (await weft(mesh, "get", "hr/back", "-o", NAMES)).out == "back-v1 back-v2\n"
        assert (await weft(mesh, "rollback", "99999")).code == 1
        lines = (await weft(mesh, "history")).out.splitlines()
        assert lines[1].split()[3:] == ["file", "created", "mesh/test"]
        assert (await weft(mesh, "delete", "hr/back")).code == 0
        assert (await weft(mesh, "get", "hr/back")).code == 1


async def test_services_are_listed_and_proxies_looked_into() -> None:
    async with system.running() as mesh:
        status, body = await mesh.get("/call/bakc/")
        assert status == 502
        assert "nearest names: back.default" in body
        words = body.splitlines()[-1].partition("weft ")[2].split()
        listed = (await verbs.weft(mesh, *words, "-o", "name")).out.split()
        assert {"service/back", "service/front"} <= set(listed)
        rows = [line.split() for line in (await verbs.weft(mesh, "get", "svc")).out.splitlines()]
        assert ["back", "80/http", "3/3", "Mesh/default/test/services/back"] in rows
        assert "endpoints" in (await verbs.weft(mesh, "describe", "svc/back")).out
        assert "Did you mean back" in (await verbs.weft(mesh, "get", "svc/bakc")).err

        weft = verbs.weft
        assert (await mesh.get("/call/back/"))[0] == 200
        for name in ("front-v1-0", "exposed"):
            assert name in (await weft(mesh, "proxy", "status")).out
            told = await weft(mesh, "proxy", "status", name)
            assert (told.code, "SYNCED" in told.out) == (0, True)
            clusters = await weft(mesh, "proxy", "config", name, "clusters")
            assert "Mesh/default/test/services/" in clusters.out
            assert len((await weft(mesh, "proxy", "config", name, "all")).out.splitlines()) > 8
            same = await weft(mesh, "proxy", "diff", name)
            assert (same.code, same.err[:2]) == (0, "OK")
            assert (await weft(mesh, "proxy", "log", name, "--lines", "5")).code == 0
        assert (await weft(mesh, "proxy", "config", "front", "clusters")).code == 1
        assert (await weft(mesh, "proxy", "config", "front-v1-0", "nothing")).code == 2


async def test_processes_are_run_stopped_and_entered() -> None:
    async with system.running() as mesh:
        weft = verbs.weft
        for mode in ("proxy", "ports"):
            ran = await weft(mesh, "run", mode, "--mode", mode, "--port", "9000", "--need", "back", "-d", "--", *APP)
            assert ran.code == 0, ran
        seen = await weft(mesh, "exec", "ports", "--", "sh", "-c", "echo $BACK_URL; exit 7")
        assert (seen.code, seen.out[:17]) == (7, "http://127.0.0.1:")
        assert (await weft(mesh, "exec", "proxy", "--", "printenv", "WEFT_CAPTURE")).out == "proxy\n"
        assert (await mesh.get("/call/ports:9000/call/back/"))[1].startswith("back ") is False  # it has no names
        assert (await mesh.get("/call/proxy:9000/call/back/"))[1].startswith("back ")

        assert (await weft(mesh, "stop", "proxy")).out == "proxy-v1-0 stopped\n"
        assert "stopped" in (await weft(mesh, "ps", "proxy")).out
        assert (await weft(mesh, "restart", "proxy")).out == "proxy-v1-0 restarted\n"
        assert (await weft(mesh, "logs", "nobody")).code == 1
        both = await weft(mesh, "delete", "mesh/run-proxy-v1", "mesh/run-ports-v1")
        assert both.code == 0


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell's background jobs ignore SIGINT, and all that they start does too; what has a handler is reset by exec."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
async def test_what_runs_in_the_foreground_is_removed_at_the_end() -> None:
    async with system.running() as mesh:
        for number in (signal.SIGINT, signal.SIGTERM):
            process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-X",
                    "faulthandler",
                    "-c",
                    verbs.MAIN,
                    "run",
                    "short",
                    "--port",
                    "9000",
                    "--",
                    "sh",
                    "-c",
                ),
                f"echo started; exec {' '.join(APP)}",
                env=mesh.environ,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            assert await asyncio.wait_for(process.stdout.readline(), 30) == b"started\n"
            process.send_signal(number)
            try:
                _, said = await asyncio.wait_for(process.communicate(), 30)
            except TimeoutError:
                process.send_signal(signal.SIGABRT)  # it says where it stands
                where = await process.stderr.read() if process.stderr else b""
                pytest.fail(f"{number.name} did not end it:\n{where.decode()}\n{await mesh.story()}")
            assert (process.returncode, said.decode().strip()) == (130, "short-v1 is removed.")
            assert (await verbs.weft(mesh, "get", "mesh", "-o", "name")).out == "mesh/test\n"


async def test_other_files_replace_those_of_an_earlier_run() -> None:
    async with system.running() as mesh:
        await mesh.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: kept}\n")
        await mesh.stop()
        other = changed(mesh.directory / "other.yaml", system.SHOP.replace("name: test", "name: other"))
        mesh.environ["WEFT_FILES"] = str(other)
        await mesh.start()
        await mesh.until_serving()
        listed = await verbs.weft(mesh, "get", "mesh,namespace", "-A", "-o", "name")
        assert listed.out.split() == ["mesh/other", "namespace/kept"]
