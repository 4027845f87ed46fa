"""Who connected: the kernel's word, and what happens when the number of a process becomes another's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.envoy.agent_rig import nobody
from weft.identity import attest, proc
from weft.model.mesh import Attest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.envoy.agent_rig import User

CONNECT = """
import socket, sys
peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
peer.connect(sys.argv[1])
peer.sendall(b"x")
if "leave" in sys.argv:
    import os
    if os.fork() == 0:
        peer.recv(1)  # a child keeps the connection when the one that made it has ended
    os._exit(0)
peer.recv(1)
"""


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.bind(str(tmp_path / "s"))
        made.listen()
        yield made


def connected(
    listener: socket.socket, *arguments: str, user: User | None = None
) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    prefix, python = (user.prefix, user.python) if user else ((), sys.executable)
    command = [*prefix, python, "-S", "-c", CONNECT, listener.getsockname(), *arguments]
    child = subprocess.Popen(command)
    raw, _ = listener.accept()
    assert raw.recv(1) == b"x"
    return raw, child


def test_a_caller_is_who_the_kernel_says_with_everything_about_it(listener: socket.socket) -> None:
    raw, child = connected(listener)
    with raw, child:
        with attest.caller(raw) as caller:
            facts = caller.facts(proc.Hashes())
            assert (facts.pid, facts.uid, facts.gid) == (child.pid, os.geteuid(), os.getegid())
            assert facts.exe == str(Path(sys.executable).resolve())
            assert len(facts.sha256) == 64
            assert facts.ancestry[1][0] == os.getpid()
            assert attest.descends(facts, os.getpid(), proc.started(os.getpid()))
            assert not attest.descends(facts, os.getpid(), 1)
            assert caller.facts().sha256 == ""
        child.kill()


def test_one_that_ends_is_no_fact_any_more(listener: socket.socket) -> None:
    raw, child = connected(listener)
    with raw, attest.caller(raw) as caller:
        child.kill()
        child.wait()
        assert not caller.lives()
        with pytest.raises(attest.AttestError, match="changed while"):
            caller.facts()


def test_a_connection_whose_maker_has_ended_is_nobodys(listener: socket.socket) -> None:
    raw, child = connected(listener, "leave")
    child.wait()
    with raw, pytest.raises(attest.AttestError, match="has ended"):
        attest.caller(raw)


def test_a_recycled_number_is_refused_also_without_a_descriptor_of_the_maker(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, child = connected(listener)
    starts = iter([100, 100, 100, 200, 200])
    with raw, child:
        monkeypatch.setattr(attest, "SO_PEERPIDFD", 9999)  # an older kernel
        with attest.caller(raw, lambda _: next(starts)) as caller:
            assert caller.lives()
            with pytest.raises(attest.AttestError, match="changed while"):
                caller.facts()
        child.kill()
    with raw, pytest.raises(OSError, match="Bad file descriptor"):
        attest.caller(raw)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root chooses the number of a process")
def test_a_process_that_takes_the_number_of_the_one_that_connected_gets_nothing(listener: socket.socket) -> None:
    raw, child = connected(listener, "leave")
    child.wait()
    last = Path("/proc/sys/kernel/ns_last_pid")
    for _ in range(200):
        try:
            last.write_text(str(child.pid - 1))
        except OSError:
            pytest.skip("the kernel does not let a process's number be chosen")
        with subprocess.Popen(["/bin/sleep", "100"]) as other:
            try:
                if other.pid == child.pid:
                    with raw, pytest.raises(attest.AttestError, match="has ended"):
                        attest.caller(raw)
                    return
            finally:
                other.kill()
    pytest.skip("others were faster to take the number")


def test_a_caller_of_another_user_is_that_user(listener: socket.socket) -> None:
    user = nobody()
    Path(listener.getsockname()).chmod(0o666)
    for directory in Path(listener.getsockname()).parents:
        if directory.stat().st_uid == os.geteuid() and directory.stat().st_mode & 0o055 != 0o055:
            directory.chmod(directory.stat().st_mode | 0o055)
    raw, child = connected(listener, user=user)
    with raw, child, attest.caller(raw) as caller:
        assert (caller.uid, caller.gid) == (user.uid, user.uid)
        child.kill()


FACTS = attest.Facts(
    pid=10,
    started=5,
    uid=0,
    gid=0,
    exe="/bin/a",
    sha256="ab" * 32,
    script="/a.py",
    cgroup="/x/pay.service/y",
    session=7,
)


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (Attest(), False),
        (Attest(uid="0"), True),
        (Attest(uid="root", gid="root"), True),
        (Attest(uid="1"), False),
        (Attest(uid="nobody-has-this-name"), False),
        (Attest(gid="nobody-has-this-name"), False),
        (Attest(exe="/bin/a", sha256="AB" * 32, script="/a.py"), True),
        (Attest(exe="/bin/a", sha256="cd" * 32), False),
        (Attest(exe="/bin/b"), False),
        (Attest(script="/b.py"), False),
        (Attest(cgroup="/x/pay.service"), True),
        (Attest(cgroup="/x/pay.service/y"), True),
        (Attest(cgroup="/x/pay"), False),
        (Attest(uid="0", cgroup="/other"), False),
    ],
)
def test_all_selectors_that_are_given_must_hold(wanted: Attest, holds: bool) -> None:
    assert attest.matches(wanted, FACTS) is holds


def test_a_daemon_that_left_its_parent_is_still_of_its_session() -> None:
    assert attest.descends(FACTS, 7, 1)
    assert not attest.descends(FACTS, 8, 1)


def test_a_session_whose_leader_has_the_number_of_one_that_ended_is_another() -> None:
    led = msgspec.structs.replace(FACTS, leader=9)
    assert attest.descends(led, 7, 9)
    assert not attest.descends(led, 7, 1)


def test_a_peer_of_another_pid_namespace_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    import struct  # noqa: PLC0415 - for this lie alone

    class Raw:
        def getsockopt(self, *_: int) -> bytes:
            return struct.pack("3i", 0, 1, 1)

    with pytest.raises(attest.AttestError, match="PID namespace"):
        attest.caller(Raw())  # type: ignore[arg-type]  # as much of a socket as is asked

    monkeypatch.setattr(os, "pidfd_open", lambda _: (_ for _ in ()).throw(ProcessLookupError()))
    with pytest.raises(attest.AttestError, match="has ended"):
        attest._open(1)
