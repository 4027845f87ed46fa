"""The journal is on the disk as a whole or not at all (promise G2, for the authority)."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.support.trust import Rig
from weft.identity import journal
from weft.identity.problems import TrustError
from weft.identity.state import Event, Journal, State

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def written(tmp_path: Path) -> Journal:
    return Rig(tmp_path / "trust").service.journal


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "trust"


def refusal(directory: Path) -> str:
    with pytest.raises(TrustError) as refused:
        journal.read(directory)
    assert refused.value.problems[0].code in ("WFT-1802", "WFT-1803")
    return str(refused.value)


def test_what_was_written_is_read_and_private(written: Journal, directory: Path) -> None:
    assert journal.read(directory) == written
    assert stat.S_IMODE((directory / journal.NAME).stat().st_mode) == 0o600
    assert sorted(path.name for path in directory.iterdir()) == ["journal.json", "keys"]


def test_a_journal_that_others_can_read_is_not_believed(written: Journal, directory: Path) -> None:
    assert written.active.chain
    (directory / journal.NAME).chmod(0o644)
    assert "0644" in refusal(directory)


def test_a_journal_cut_at_any_byte_is_damaged_and_never_a_smaller_one(written: Journal, directory: Path) -> None:
    path = directory / journal.NAME
    content = path.read_bytes()
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        assert "damaged" in refusal(directory)
    path.write_bytes(content)
    assert journal.read(directory) == written


def test_a_flipped_bit_is_found(written: Journal, directory: Path) -> None:
    path = directory / journal.NAME
    content = path.read_bytes()
    at = content.index(b"active")
    path.write_bytes(content[:at] + b"Active" + content[at + 6 :])
    assert "checksum" in refusal(directory)
    assert written.active.state is State.ACTIVE


def test_a_journal_of_a_newer_weft_is_left_alone(written: Journal, directory: Path) -> None:
    journal.write(directory, msgspec.structs.replace(written, version=99))
    assert "newer weft" in refusal(directory)


def test_a_journal_without_an_active_authority_is_damaged(written: Journal, directory: Path) -> None:
    tainted = msgspec.structs.replace(written.active, state=State.TAINTED)
    journal.write(directory, written.with_authority(tainted))
    assert "exactly one active" in refusal(directory)


def test_what_cannot_be_written_leaves_the_old_one(
    written: Journal, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:  # noqa: ARG001 - as os.fsync
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrustError) as refused:
        journal.write(directory, written.with_event(Event(1, "x", "a", "b")))
    monkeypatch.undo()
    assert refused.value.problems[0].code == "WFT-1801"
    assert journal.read(directory) == written


WRITER = """
import os, sys
from pathlib import Path
from weft.identity import journal
from weft.identity.state import Event
calls, stop = 0, int(sys.argv[2])
def counted(original):
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls > stop:
            os.kill(os.getpid(), 9)
        return original(*arguments, **named)
    return call
directory = Path(sys.argv[1])
found = journal.read(directory)
write = os.write
for name in ("open", "fsync", "replace", "close", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
class Slow:
    # every byte is a moment in which the process may die
    def __init__(self, file): self.file = file
    def __enter__(self): return self
    def __exit__(self, *error): self.file.close()
    def write(self, data):
        global calls
        for at in range(0, len(data), 97):
            calls += 1
            if calls > stop:
                os.kill(os.getpid(), 9)
            self.file.write(data[at:at + 97]); self.file.flush()
    def __getattr__(self, name): return getattr(self.file, name)
fdopen = os.fdopen
os.fdopen = lambda descriptor, mode: Slow(fdopen(descriptor, mode)) if "w" in mode else fdopen(descriptor, mode)
journal.write(directory, found.with_event(Event(1, "written", "a", "b")))
print("whole")
"""


def test_whoever_is_killed_at_any_moment_leaves_the_old_or_the_new(written: Journal, directory: Path) -> None:
    ends = set()
    for stop in range(0, 400, 3):
        journal.write(directory, written)
        ran = subprocess.run(
            [sys.executable, "-c", WRITER, str(directory), str(stop)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        found = journal.read(directory)
        assert found in (written, written.with_event(Event(1, "written", "a", "b")))
        ends.add(found != written)
        if "whole" in ran.stdout:
            assert found != written
            break
        assert ran.returncode == -9
    else:
        pytest.fail("the writer never came to its end")
    assert ends == {True, False}
