"""Verbs of ``weft`` run against a ``System``, as its user would."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from tests.support.system import System

MAIN: Final = "import sys; from weft.cli.main import main; sys.exit(main())"
HELLO: Final = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10) as connection:
    print(connection.recv(200).decode().strip())
"""
"""Prints what a server says that speaks first."""


class Done(NamedTuple):
    """What a verb did: its exit code, its data and its talk."""

    code: int
    out: str
    err: str


async def weft(system: System, *words: str, stdin: str = "", **environ: str) -> Done:
    """Run ``weft WORDS`` to its end. Keyword arguments are more environment."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MAIN,
        *words,
        env=system.environ | environ,
        cwd=system.directory,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def inside(system: System, workload: str, program: str, *arguments: str) -> Done:
    """Run a Python program where a workload's traffic is captured."""
    return await weft(system, "exec", workload, "--", sys.executable, "-c", program, *arguments)


async def stats(system: System, workload: str, wanted: str) -> dict[str, int]:
    """The counters of a workload's proxy whose names match."""
    answer = await system._ask(system.runtime / "agent.sock", "GET", f"/v1/proxies/{workload}/admin/stats")
    lines = re.findall(r"^(\S+): (\d+)$", answer.text, re.MULTILINE)
    return {name: int(value) for name, value in lines if re.search(wanted, name)}
