"""Who listens where."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from weft.agent import listening
from weft.agent.listening import FRESH_SECONDS, READ_SECONDS, Listener, Watch

if TYPE_CHECKING:
    import pytest

TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2378 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1
   1: 0100007F:2378 0100007F:8000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1
"""
SIX = """  sl  local_address rem_address   st
   0: 00000000000000000000000001000000:1F90 0 0A 0 0 0 0 0 815 1
   1: 0000000000000000FFFF00000100007F:1F90 0 0A 0 0 0 0 0 816 1
"""


def test_only_listening_sockets_on_the_port_count() -> None:
    assert listening.listening(TABLE, 0x2378) == (Listener("127.0.0.1", "4711"),)
    assert listening.listening(TABLE, 80) == ()


def test_addresses_are_read_as_the_kernel_writes_them() -> None:
    assert listening.listening(SIX, 8080) == (Listener("::1", "815"), Listener("::ffff:127.0.0.1", "816"))


def test_an_application_that_listens_where_its_proxy_does_not_call_is_told_apart() -> None:
    watch = Watch(own_network=True)
    with socket.socket(socket.AF_INET6) as six, socket.socket() as four:
        four.bind(("127.0.0.2", 0))
        number = four.getsockname()[1]
        four.listen()
        assert not watch.look(os.getpid(), number, 0.0)
        assert watch.elsewhere.startswith("it listens on 127.0.0.2 only")
        six.bind(("::1", number))
        six.listen()
        assert not watch.look(os.getpid(), number, 0.1)
        assert "on 127.0.0.2, [::1] only; its proxy calls 127.0.0.1:" in watch.elsewhere
        with socket.socket() as reached:
            reached.bind(("127.0.0.1", number))
            reached.listen()
            assert watch.look(os.getpid(), number, 0.2)
            assert watch.elsewhere == ""


LISTENS = """
import socket, sys
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen()
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_a_socket_of_a_child_is_the_applications_and_one_of_a_stranger_is_not() -> None:
    def started(code: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    with started(LISTENS) as child, started("import sys; sys.stdin.read()") as stranger:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        assert child.pid in listening.family(os.getpid())
        assert Watch(own_network=False).look(os.getpid(), port, 0.0)
        assert not Watch(own_network=False).look(stranger.pid, port, 0.0)
        assert Watch(own_network=True).look(stranger.pid, port, 0.0)


def test_the_table_is_read_after_a_socket_was_opened_else_once_a_second_and_not_for_one_that_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: list[int] = []
    read = listening.listeners

    def counted(pid: int, port: int) -> tuple[Listener, ...]:
        reads.append(port)
        return read(pid, port)

    monkeypatch.setattr(listening, "listeners", counted)
    watch = Watch(own_network=False)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert not watch.look(os.getpid(), port, 0.0)
        assert not watch.look(os.getpid(), port, FRESH_SECONDS / 2)
        assert len(reads) == 2
        assert not watch.look(os.getpid(), port, FRESH_SECONDS * 2)
        assert len(reads) == 2, "nothing was opened since"
        server.listen()
        assert watch.look(os.getpid(), port, READ_SECONDS * 2)
        assert len(reads) == 3
        assert watch.look(os.getpid(), port, 100.0)
        assert len(reads) == 3, "it is known"
    assert not watch.look(os.getpid(), port, 101.0)
    assert len(reads) == 4


def test_processes_that_are_gone_have_no_sockets_and_no_family() -> None:
    gone = 2**22 + 1
    assert listening.sockets_of((gone,)) == frozenset()
    assert listening.family(gone) == (gone,)
    assert listening.listeners(gone, 80) == ()
