"""Files, sockets and locks that are their owner's alone, and files that are whole at any moment."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from weft import private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Writer = Callable[[Path, bytes], None]

WRITERS = (private.create, private.replace)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def broken(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.usefixtures("open_umask")
def test_a_file_is_private_from_its_first_moment_on(
    write: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = os.fdopen

    def opened(descriptor: int, mode: str) -> object:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return original(descriptor, mode)

    monkeypatch.setattr(os, "fdopen", opened)
    write(tmp_path / "file", b"secret")
    assert seen == [0o600]
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert (tmp_path / "file").read_bytes() == b"secret"


def test_a_new_file_takes_the_place_of_no_other_and_goes_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"other")
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("there", "link", "dangling"):
        with pytest.raises(FileExistsError):
            private.create(tmp_path / name, b"new")
    assert (tmp_path / "there").read_bytes() == b"other"
    assert names(tmp_path) == ["dangling", "link", "there"]


@pytest.mark.parametrize("lasting", [True, False])
def test_a_replaced_file_loses_its_mode_and_a_link_its_place(tmp_path: Path, *, lasting: bool) -> None:
    (tmp_path / "open").write_bytes(b"old")
    (tmp_path / "open").chmod(0o666)
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "target").write_bytes(b"kept")
    for name in ("open", "link"):
        private.replace(tmp_path / name, b"new", lasting=lasting)
        assert private.read(tmp_path / name, 10) == b"new"
    assert (tmp_path / "target").read_bytes() == b"kept"
    assert names(tmp_path) == ["link", "open", "target"]


def test_what_lies_aside_is_neither_written_into_nor_kept(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"kept")
    (tmp_path / ".file.new").symlink_to("target")
    private.replace(tmp_path / "file", b"new")
    assert (tmp_path / "target").read_bytes() == b"kept"
    assert names(tmp_path) == ["file", "target"]


@pytest.mark.parametrize("write", WRITERS)
def test_a_full_disk_leaves_nothing_of_the_new_one(
    write: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken("fsync", monkeypatch)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "file", b"new")
    assert names(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_what_cannot_be_replaced_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    private.replace(tmp_path / "file", b"old")
    broken(call, monkeypatch)
    with pytest.raises(OSError, match="No space"):
        private.replace(tmp_path / "file", b"new")
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_is_on_the_disk_before_its_name_is(
    write: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = os.fsync

    def sync(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        assert kind == "file" or (tmp_path / "file").exists()
        seen.append(kind)
        original(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    write(tmp_path / "file", b"new")
    assert seen == ["file", "directory"]


def test_what_need_not_last_waits_for_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken("fsync", monkeypatch)
    private.replace(tmp_path / "file", b"new", lasting=False)
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("call", "left"), [("open", b"old"), ("fsync", b"old"), ("replace", b"old"), ("close", b"new")]
)
def test_whoever_is_killed_between_two_steps_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, left: bytes
) -> None:
    """``close`` is the directory's, after its synchronisation. At any byte: ``test_journal``."""

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    path = tmp_path / "file"
    private.replace(path, b"old")
    with monkeypatch.context() as patched:
        patched.setattr(os, call, die)
        with pytest.raises(Killed):
            private.replace(path, b"new")
    assert path.read_bytes() == left
    private.replace(path, b"after")
    assert names(tmp_path) == ["file"]


def test_what_others_can_touch_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    private.create(path, b"secret")
    for mode in (0o640, 0o604, 0o620, 0o610, 0o601):
        path.chmod(mode)
        with pytest.raises(private.ExposedError, match=rf"^mode {mode:04o} of user {os.geteuid()}$"):
            private.read(path, 10)
    path.chmod(0o400)
    assert private.read(path, 10) == b"secret"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_belongs_to_somebody_else_is_not_read(tmp_path: Path) -> None:
    private.create(tmp_path / "file", b"secret")
    os.chown(tmp_path / "file", 12345, 12345)
    with pytest.raises(private.ExposedError, match="user 12345"):
        private.read(tmp_path / "file", 10)


def test_a_link_is_not_followed_and_a_pipe_not_waited_for(tmp_path: Path) -> None:
    private.create(tmp_path / "file", b"secret")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(OSError, match="symbolic links"):
        private.read(tmp_path / "link", 10)
    for special in (tmp_path / "pipe", tmp_path):
        with pytest.raises(private.ExposedError, match="special file"):
            private.read(special, 10)


def test_one_byte_too_many_is_read_and_no_more(tmp_path: Path) -> None:
    private.create(tmp_path / "file", b"12345")
    assert private.read(tmp_path / "file", 5) == b"12345"
    assert private.read(tmp_path / "file", 3) == b"1234"


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_a_socket_has_its_mode_before_anybody_can_connect_and_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    seen = []

    class Listening(socket.socket):
        def listen(self, backlog: int = 1, /) -> None:
            seen.append(stat.S_IMODE(os.stat(self.getsockname()).st_mode))  # noqa: PTH116 - what the kernel says
            super().listen(backlog)

    path = tmp_path / "s"
    private.listen(path).close()
    monkeypatch.setattr(socket, "socket", Listening)
    with private.listen(path, mode), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert seen == [mode]
    assert names(tmp_path) == ["s"]


def test_a_socket_of_packets_is_one(tmp_path: Path) -> None:
    with private.listen(tmp_path / "s", kind=socket.SOCK_SEQPACKET) as listener:
        assert listener.type == socket.SOCK_SEQPACKET


def test_a_socket_that_cannot_be_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="No such file"):
        private.listen(tmp_path / "absent" / "s")
    broken("replace", monkeypatch)
    with pytest.raises(OSError, match="No space"):
        private.listen(tmp_path / "s")
    assert names(tmp_path) == []


def test_a_lock_has_one_holder_and_says_who_it_is(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = private.hold(path)
    with pytest.raises(private.HeldError) as refused:
        private.hold(path)
    assert refused.value.holder == str(os.getpid())
    assert str(refused.value) == f"process {os.getpid()} holds it"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    os.close(held)
    os.close(private.hold(path))


def test_a_full_disk_keeps_nobody_from_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    with monkeypatch.context() as patched:
        broken("pwrite", patched)
        held = private.hold(path)
    with pytest.raises(private.HeldError, match="another process") as refused:
        private.hold(path)
    assert refused.value.holder == ""
    os.close(held)


def test_a_lock_is_not_taken_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        private.hold(tmp_path / "lock")
    assert names(tmp_path) == ["lock"]


def test_a_lock_that_the_file_system_cannot_give_is_not_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    with pytest.raises(OSError, match="No locks") as refused:
        private.hold(tmp_path / "lock")
    assert not isinstance(refused.value, private.HeldError)


def test_who_connected_is_the_kernels_word(tmp_path: Path) -> None:
    with private.listen(tmp_path / "s") as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        accepted, _ = listener.accept()
        with accepted:
            assert private.peer(accepted) == (os.getpid(), os.geteuid(), os.getegid())
