"""Attacks on attestation: a process that dresses up as another program, on the real kernel."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from weft.identity import attest, proc
from weft.model.mesh import Attest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.identity.attest import Facts

CONNECT: Final = "import socket,sys;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);s.sendall(b'x');s.recv(1)"


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.bind(str(tmp_path / "s"))
        made.listen()
        yield made


@contextmanager
def caller(listener: socket.socket, *command: str | Path) -> Iterator[Facts]:
    """What is believed of a process that connects and waits."""
    with subprocess.Popen([*map(str, command), "-S", "-c", CONNECT, listener.getsockname()]) as child:
        try:
            raw, _ = listener.accept()
            with raw, attest.caller(raw) as made:
                assert raw.recv(1) == b"x"
                yield made.facts(proc.Hashes())
        finally:
            child.kill()


def python(directory: Path, name: str) -> Path:
    """A program of the attacker's own that can do anything."""
    made = directory / name
    shutil.copy(Path(sys.executable).resolve(), made)
    return made


@pytest.mark.needs("unshare", "mount")
def test_a_program_that_is_mounted_over_another_for_itself_alone_is_not_that_one(
    listener: socket.socket, tmp_path: Path
) -> None:
    """Everybody may do that in a user namespace of his own; ``/proc/PID/exe`` then has the other's path."""
    good, evil = tmp_path / "pay", python(tmp_path, "evil")
    shutil.copy("/bin/sleep", good)
    inside = f'mount --bind "{evil}" "{good}" && exec "$@"'
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces cannot be made here")
    with caller(listener, "unshare", "-Urm", "sh", "-c", inside, "sh", good) as facts:
        assert os.readlink(f"/proc/{facts.pid}/exe") == str(good)  # noqa: PTH115 - of a file that is not on a disk
        assert facts.exe == ""
        assert not attest.matches(Attest(uid=str(os.geteuid()), exe=str(good)), facts)
        assert not attest.matches(Attest(sha256=hashlib.sha256(good.read_bytes()).hexdigest()), facts)


def test_a_program_that_was_deleted_replaced_or_moved_is_not_what_stands_there_now(
    listener: socket.socket, tmp_path: Path
) -> None:
    for change in ("unlink", "replace", "rename"):
        evil = python(tmp_path, "evil")
        with caller(listener, evil) as facts:
            assert facts.exe == str(evil)
            if change == "unlink":
                evil.unlink()
            elif change == "replace":
                shutil.copy("/bin/sleep", tmp_path / "new")
                (tmp_path / "new").replace(evil)
            else:
                evil.rename(tmp_path / "elsewhere")
            assert proc.executable(facts.pid) == (str(tmp_path / "elsewhere") if change == "rename" else "")


def test_a_link_to_a_program_is_the_program_and_a_link_to_another_is_not(
    listener: socket.socket, tmp_path: Path
) -> None:
    evil = python(tmp_path, "evil")
    link = tmp_path / "pay"
    link.symlink_to(evil)
    with caller(listener, link) as facts:
        assert facts.exe == str(evil)
        assert not attest.matches(Attest(exe=str(link)), facts)


def test_a_program_without_a_file_is_none(listener: socket.socket) -> None:
    descriptor = os.memfd_create("pay")
    try:
        with Path(f"/proc/self/fd/{descriptor}").open("wb") as file:
            file.write(Path(sys.executable).resolve().read_bytes())
        os.set_inheritable(descriptor, True)
        with subprocess.Popen(
            [f"/proc/self/fd/{descriptor}", "-S", "-c", CONNECT, listener.getsockname()], pass_fds=(descriptor,)
        ) as child:
            try:
                raw, _ = listener.accept()
                with raw, attest.caller(raw) as made:
                    assert raw.recv(1) == b"x"
                    assert made.facts().exe == ""
            finally:
                child.kill()
    finally:
        os.close(descriptor)


def test_a_file_that_is_changed_twice_within_a_tick_has_no_old_digest(tmp_path: Path) -> None:
    """Its size, its inode and all its times are as before."""
    program, hashes = tmp_path / "pay", proc.Hashes()
    shutil.copy("/bin/sleep", program)
    good = program.read_bytes()
    with subprocess.Popen([program, "100"]) as child:
        try:
            assert hashes.of(child.pid) == hashlib.sha256(good).hexdigest()
            assert hashes._known == {}, "it is younger than what its times can tell"
        finally:
            child.kill()
