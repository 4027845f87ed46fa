"""The scripts that prepare a machine, where things are missing; the programs they call are stand-ins and take notes."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.repository import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = ROOT / "tools"


class Machine:
    """A directory of programs that is all there is on $PATH, and a note of the calls of those that are stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        self.programs.mkdir()
        self._notes = folder / "notes"
        self._notes.touch()
        for name in ("bash", "dirname", "env", "touch", "rm", "mkdir", "cp"):
            found = shutil.which(name)
            assert found
            (self.programs / name).symlink_to(found)
        self.checkout = folder / "checkout"
        (self.checkout / "tools").mkdir(parents=True)
        shutil.copy(TOOLS / "setup", self.checkout / "tools" / "setup")

    def has(self, name: str, body: str = "exit 0") -> None:
        program = self.programs / name
        program.write_text(f'#!{self.programs}/bash\necho "{name} $*" >>{self._notes}\n{body}\n')
        program.chmod(0o755)

    def run(self, script: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [script], env={"PATH": str(self.programs)}, capture_output=True, text=True, check=False, timeout=60
        )

    @property
    def calls(self) -> list[str]:
        return self._notes.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# A Python that is new enough, and has the modules named in $HAS; "-m venv" makes an environment that works.
PYTHON = """
case "$*" in
  *version_info*) exit 0 ;;
  "-m ensurepip --version") {ensurepip} ;;
  "-m pip --version") {pip} ;;
  "-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
esac
"""


def test_all_test_tools_there_is_silence(machine: Machine) -> None:
    listed = re.search(r"tools=\(([^)]*)\)", (TOOLS / "install-test-tools").read_text())
    assert listed is not None
    for tool in listed[1].split():
        machine.has(tool.partition(":")[0])
    done = machine.run(TOOLS / "install-test-tools")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_root_missing_test_tools_are_named_with_the_command_that_installs_them(machine: Machine) -> None:
    for name in ("curl", "node"):
        machine.has(name)
    machine.has("id", "echo 1000")
    machine.has("apt-get")
    done = machine.run(TOOLS / "install-test-tools")
    assert done.returncode == 0
    assert "missing redis-server redis-cli wrk" in done.stderr
    assert "sudo apt-get install redis-server redis-tools wrk" in done.stderr
    assert [call for call in machine.calls if call.startswith("apt-get")] == []


def test_setup_without_a_new_enough_python_says_what_is_needed(machine: Machine) -> None:
    machine.has("python3", "exit 1")
    done = machine.run(machine.checkout / "tools" / "setup")
    assert done.returncode == 1
    assert "Python 3.11 or later is needed" in done.stderr


def test_setup_uses_uv_where_there_is_one(machine: Machine) -> None:
    machine.has("python3.11", PYTHON.format(ensurepip="exit 1", pip="exit 1"))
    machine.has("uv")
    assert machine.run(machine.checkout / "tools" / "setup").returncode == 0
    calls = [call for call in machine.calls if call.startswith("uv ")]
    assert calls[0].startswith("uv venv")
    assert "--editable . --constraint tools/constraints.txt" in calls[1]


def test_setup_needs_no_uv(machine: Machine) -> None:
    machine.has("python3.11", PYTHON.format(ensurepip="exit 0", pip="exit 1"))
    assert machine.run(machine.checkout / "tools" / "setup").returncode == 0
    assert "python3.11 -m venv .venv" in machine.calls
    assert any("-m pip install" in call and "--editable ." in call for call in machine.calls)


def test_setup_on_debians_bare_python_installs_the_missing_package_as_root(machine: Machine) -> None:
    machine.has("python3.11", PYTHON.format(ensurepip="exit 1", pip="exit 1"))
    machine.has("apt-get")
    machine.has("id", "echo 0")
    assert machine.run(machine.checkout / "tools" / "setup").returncode == 0
    assert "apt-get install -y -qq python3-venv" in machine.calls


def test_setup_on_debians_bare_python_without_root_says_what_to_install(machine: Machine) -> None:
    machine.has("python3.11", PYTHON.format(ensurepip="exit 1", pip="exit 1"))
    machine.has("apt-get")
    machine.has("id", "echo 1000")
    done = machine.run(machine.checkout / "tools" / "setup")
    assert done.returncode == 1
    assert "python3-venv (Debian, Ubuntu)" in done.stderr
