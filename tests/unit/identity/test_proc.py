"""What /proc says of a process, and what is read out of a command line."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from weft.identity import proc

GONE = 2**22 + 1  # no process has a number above the kernel's limit


@pytest.mark.parametrize(
    ("program", "words", "script"),
    [
        ("/usr/bin/python3.11", ["python3", "-u", "app.py", "--fast"], "app.py"),
        ("/usr/bin/python3", ["python", "-W", "error", "-X", "dev", "a.py"], "a.py"),
        ("/usr/bin/python3", ["python", "-Werror", "a.py"], "a.py"),
        ("/usr/bin/python3", ["python", "-m", "http.server"], ""),
        ("/usr/bin/python3", ["python", "-c", "pass", "a.py"], ""),
        ("/usr/bin/python3", ["python", "-"], ""),
        ("/usr/bin/python3", ["python"], ""),
        ("/usr/bin/node", ["node", "--require", "x", "--trace-gc", "s.js"], "s.js"),
        ("/usr/bin/node", ["node", "-e", "1"], ""),
        ("/usr/bin/ruby", ["ruby", "-Ilib", "s.rb"], "s.rb"),
        ("/bin/bash", ["bash", "--", "-x"], "-x"),
        ("/bin/bash", ["bash", "--"], ""),
        ("/bin/bash", ["bash", "-o", "pipefail", "run.sh"], "run.sh"),
        ("/usr/bin/java", ["java", "-Xmx1g", "-jar", "a.jar", "x"], "a.jar"),
        ("/usr/bin/java", ["java", "-cp", "x", "Main"], ""),
        ("/opt/pay", ["pay", "a.py"], ""),
        ("", [], ""),
    ],
)
def test_the_script_is_what_the_interpreter_would_run(program: str, words: list[str], script: str) -> None:
    assert proc.script_of(program, words) == script


def test_of_a_live_process_everything_is_known(tmp_path: Path) -> None:
    program = tmp_path / "wait.sh"
    program.write_text("read line\n")
    with subprocess.Popen(["/bin/sh", "wait.sh"], cwd=tmp_path, stdin=subprocess.PIPE, start_new_session=True) as child:
        try:
            pid = child.pid
            assert proc.started(pid) > 0
            assert proc.session(pid) == pid
            assert [one for one, _ in proc.ancestry(pid)][:2] == [pid, os.getpid()]
            assert proc.network(pid) == Path("/proc/self/ns/net").stat().st_ino
            assert proc.cgroup(pid) == proc.cgroup(os.getpid())
        finally:
            child.kill()
    script = tmp_path / "s.py"
    script.write_text("input()\n")
    with subprocess.Popen(
        [sys.executable, "s.py"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        try:
            while not proc.script(child.pid):
                assert child.poll() is None
            assert proc.script(child.pid) == str(script)
        finally:
            child.kill()


def test_one_that_has_gone_has_nothing(tmp_path: Path) -> None:
    assert proc.started(GONE) == proc.parent(GONE) == proc.session(GONE) == proc.network(GONE) == 0
    assert proc.ancestry(GONE) == ()
    assert proc.executable(GONE) == proc.script(GONE) == proc.cgroup(GONE) == proc.text(GONE, "environ") == ""
    assert proc.Hashes().of(GONE) == ""
    program = tmp_path / "sleep"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "100"]) as child:
        try:
            assert proc.executable(child.pid) == str(program)
            program.unlink()
            assert proc.executable(child.pid) == ""
        finally:
            child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert proc.started(child.pid) == 0  # it waits to be reaped


def test_executables_are_read_once_and_never_beyond_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes, own = proc.Hashes(), os.getpid()
    digest = hashlib.sha256(Path(f"/proc/{own}/exe").read_bytes()).hexdigest()
    assert hashes.of(own) == digest
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert hashes.of(own) == digest
    monkeypatch.setattr(proc, "EXECUTABLE_LIMIT", 10)
    assert hashes.of(own) == ""


def test_few_hashes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proc, "HASHES", 1)
    hashes = proc.Hashes()
    with subprocess.Popen(["/bin/sleep", "100"]) as child:
        try:
            first = hashes.of(os.getpid())
            assert hashes.of(child.pid) not in ("", first)
            assert hashes.of(os.getpid()) == first
        finally:
            child.kill()
