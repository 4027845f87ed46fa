"""Processes: started, known again, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import msgspec
import pytest

from tests.envoy.agent_rig import nobody
from weft.agent import processes
from weft.agent.processes import Launch, StartError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def launch(tmp_path: Path, code: str, *, detached: bool = False) -> Launch:
    argv = (sys.executable, "-c", code)
    return Launch(argv, {"COLOUR": "red"}, tmp_path / "log", str(tmp_path), detached=detached)


async def test_a_process_gets_its_environment_directory_and_log(tmp_path: Path) -> None:
    code = "import os; print(os.environ['COLOUR'], os.getcwd(), os.getsid(0) == os.getpid()); raise SystemExit(3)"
    running = await processes.start(launch(tmp_path, code))
    assert await running.wait() == "exit status 3"
    running.close()
    assert (tmp_path / "log").read_text() == f"red {tmp_path} True\n"


async def test_a_detached_process_has_no_parent_here_and_a_session_of_its_own(tmp_path: Path) -> None:
    code = "import os, time; print(os.getsid(0) == os.getpid(), flush=True); time.sleep(60)"
    running = await processes.start(launch(tmp_path, code, detached=True))
    fields = processes.stat_fields(running.pid)
    assert fields is not None
    assert int(fields[1]) != os.getpid()
    with anyio.fail_after(20):
        while (tmp_path / "log").read_text() != "True\n":  # noqa: ASYNC110 - no event
            await anyio.sleep(0.01)
    running.signal(signal.SIGKILL)
    assert await running.wait() == "it ended"
    running.close()


async def test_a_program_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    for detached in (False, True):
        absent = Launch(("/absent/program",), {}, tmp_path / "log", detached=detached)
        with pytest.raises(StartError, match=r"/absent/program: No such file") as refused:
            await processes.start(absent)
        assert refused.value.code == 2


async def test_only_the_very_same_process_is_adopted(tmp_path: Path) -> None:
    running = await processes.start(launch(tmp_path, "import time; time.sleep(60)"))
    assert processes.members(running.pid) == (running.pid,)
    again = processes.adopt(running.identity)
    assert again is not None
    assert processes.adopt(msgspec.structs.replace(running.identity, started=1)) is None
    assert processes.adopt(msgspec.structs.replace(running.identity, boot="another")) is None
    running.signal(signal.SIGTERM)
    assert await running.wait() == "signal SIGTERM"
    assert await again.wait() == "it ended"
    assert processes.adopt(running.identity) is None
    running.signal(signal.SIGTERM)
    running.close()
    again.close()


async def test_a_namespace_can_be_made_entered_and_found_again(tmp_path: Path) -> None:
    try:
        namespace = await processes.create_namespace(tmp_path / "log")
    except StartError as error:
        pytest.skip(f"this machine does not allow namespaces: {error}")
    inside = msgspec.structs.replace(launch(tmp_path, "import time; time.sleep(60)"), namespace=namespace)
    running = await processes.start(inside)
    assert processes.inside(namespace) == (running.pid,)
    again = processes.namespace_of(running.pid)
    assert again is not None
    assert os.fstat(again.descriptors[-1]).st_ino == os.fstat(namespace.descriptors[-1]).st_ino
    again.close()
    processes.kill(running.pid, signal.SIGKILL)
    assert await running.wait() == "signal SIGKILL"
    running.close()
    namespace.close()
    assert processes.namespace_of(running.pid) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a program as somebody else")
@pytest.mark.parametrize("inside", [False, True])
async def test_a_process_of_another_user_has_none_of_our_groups(tmp_path: Path, inside: bool) -> None:
    namespace = await processes.create_namespace(tmp_path / "log") if inside else None
    argv = ("/bin/sh", "-c", "echo $(id -u) $(id -g) $(id -G)")
    running = await processes.start(Launch(argv, {}, tmp_path / "log", namespace=namespace, user=(65534, 65534)))
    assert await running.wait() == "exit status 0"
    running.close()
    if namespace:
        namespace.close()
    assert (tmp_path / "log").read_text() == "65534 65534 65534\n"


PRIVATE = """
import os, subprocess, sys
from weft.agent import processes
code = "from weft.identity.memory import keep_private; keep_private(); print('ready', flush=True); input()"
command = [sys.executable, "-c", code, "WEFT_PROCESS=mine"]
with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as one:
    one.stdout.readline()
    assert processes.marked("mine") == (one.pid,), processes.marked("mine")
    assert processes.marked("min") == ()
    assert processes.adopt_marked("mine").pid == one.pid
    os.geteuid = lambda: 12345  # as if it were somebody else's, who may write there what he likes
    assert processes.marked("mine") == ()
    one.stdin.close()
"""


def test_a_process_that_keeps_its_environment_to_itself_is_found_by_its_arguments_and_only_ones_own() -> None:
    user = nobody()
    done = subprocess.run(
        [*user.prefix, user.python, "-c", PRIVATE], env=user.environment(), capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
