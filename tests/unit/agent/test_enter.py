"""The helper's orders, as the process that it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys


def run(order: dict[str, object]) -> tuple[int, bytes, bytes]:
    """Exit status, what the program said, and what was written to the descriptor for failures."""
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "weft.agent.enter"]
    data = json.dumps(order | {"errors": writing}).encode()
    done = subprocess.run(command, input=data, pass_fds=(writing,), capture_output=True, check=False, timeout=30)
    os.close(writing)
    failure = os.read(reading, 4096)
    os.close(reading)
    return done.returncode, done.stdout, failure


def test_it_becomes_the_program_with_no_input_and_no_descriptor_of_ours() -> None:
    code = "import os, sys; print(os.environ['A'], os.getcwd(), sys.stdin.read() == '', sorted(os.listdir('/proc/self/fd')))"
    status, out, failure = run({"argv": [sys.executable, "-c", code], "env": {"A": "b"}, "directory": "/usr"})
    assert (status, failure) == (0, b"")
    assert out.decode().startswith("b /usr True ['0', '1', '2', '3']")


def test_what_cannot_be_done_is_told_with_number_and_name() -> None:
    assert run({"argv": ["/absent"], "env": {}})[::2] == (1, b"2 /absent")
    assert run({"argv": ["true"], "env": {}, "directory": "/absent"})[::2] == (1, b"2 /absent")
    status, _, failure = run({"join": [0]})
    assert status == 1
    assert failure.endswith(b"setns")


def test_a_resolver_that_is_absent_is_a_failure() -> None:
    order: dict[str, object] = {"dns": {"socket": "/absent.sock", "label": {}}}
    status, _, failure = run(order)
    assert (status, failure.split()[0] in (b"2", b"98")) == (1, True)
