"""Nobody of the same user looks into a process that holds keys."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.envoy.agent_rig import nobody

CODE = """
import sys, time
from weft.identity.memory import keep_private
if len(sys.argv) > 1: keep_private()
print("ready", flush=True); time.sleep(60)
"""


@pytest.mark.parametrize(("arguments", "status"), [((), 0), (("guard",), 1)])
def test_a_process_of_the_same_user_reads_its_memory_no_more(arguments: tuple[str, ...], status: int) -> None:
    user = nobody()
    command = [*user.prefix, user.python, "-c", CODE, *arguments]
    with subprocess.Popen(command, env=user.environment(), stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
            look = f"import sys; open('/proc/{holder.pid}/mem', 'rb'); open('/proc/{holder.pid}/environ').read()"
            done = subprocess.run(
                [*user.prefix, user.python, "-S", "-c", look], env=user.environment(), capture_output=True, check=False
            )
            assert done.returncode == status, done.stderr
        finally:
            holder.kill()


def test_programs_that_it_starts_are_not_concerned() -> None:
    code = (
        "import subprocess, sys; from weft.identity.memory import keep_private; keep_private();"
        "sys.exit(subprocess.run([sys.executable, '-S', '-c', 'import ctypes, sys; "
        "sys.exit(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))']).returncode)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ))
    assert done.returncode == 1  # PR_GET_DUMPABLE of the child


def test_it_says_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from weft.identity import memory  # noqa: PLC0415 - the module is patched

    monkeypatch.setattr(memory, "PR_SET_DUMPABLE", 9999)
    with pytest.raises(OSError, match="Invalid argument"):
        memory.keep_private()
    assert Path("/proc/self/status").exists()


LARGE = """
import sys
from weft.identity.memory import give_back_large
def held():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
if len(sys.argv) > 1 and not give_back_large(): sys.exit(3)
warm = bytes(30_000_000); del warm  # glibc learns from it to keep what is as large
many, pins = [], []
for _ in range(20):
    many.append(bytes([1]) * 1_000_000); pins.append(bytes([1]) * 100_000)
before = held(); many.clear()
print(before - held())
"""


def test_what_was_large_goes_back_at_once() -> None:
    def back_kb(*arguments: str) -> int:
        done = subprocess.run([sys.executable, "-c", LARGE, *arguments], check=False, capture_output=True, text=True)
        if done.returncode == 3:
            pytest.skip("this is not glibc")
        return int(done.stdout)

    assert back_kb("give") > 15_000 > back_kb()
