"""Promises G1, G2, G3, G7, A3 and B10: what the store does when the disk, the file or the other writers misbehave."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support.stores import ALICE, open_store, record, route, route_ref
from weft.sources.database import FILE
from weft.sources.lock import UnusableError
from weft.sources.records import Reason, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KILLS = 200
WRITERS, UPDATES = 20, 500

FULL_DISK = """
import sys, anyio
from pathlib import Path
from tests.support.stores import ALICE, BOB, open_store, route
from weft.sources.records import Reason, Verb

async def main(directory):
    store = await open_store(directory)
    done = 0
    while True:
        applied = await store.apply(ALICE, [route(f"r{done}", text="x" * 20_000)])
        (outcome,) = applied.outcomes
        if outcome.verb is Verb.REFUSED:
            break
        done += 1
        assert done < 1000, "the disk did not fill up"
    assert outcome.reason is Reason.STORAGE and outcome.problems[0].code == "WFT-1504", outcome
    assert len(store.records) == store.revision == done > 3
    assert store.get(route("r0").ref) is not None
    assert len(await store.history()) == min(done, 100)
    filler = directory / "filler"
    filler.unlink()
    applied = await store.apply(BOB, [route("after")])
    assert applied.outcomes[0].verb is Verb.CREATED, applied
    await store.close()
    again = await open_store(directory)
    assert len(again.records) == done + 1 == again.revision
    await again.close()
    print("kept", done)

directory = Path(sys.argv[1])
(directory / "filler").write_bytes(b"x" * 512 * 1024)
anyio.run(main, directory)
"""

WRITING = """
import sys, os, anyio
from pathlib import Path
from tests.support.stores import ALICE, open_store, route

async def main(directory):
    store = await open_store(directory)
    for number in range(100_000):
        applied = await store.apply(ALICE, [route("counter", x=store.revision), route(f"r{number % 50}", x=store.revision)])
        os.write(1, b"%d\\n" % applied.revision)

# Imported once; each line on stdin makes a child that writes until it is killed.
for line in sys.stdin:
    child = os.fork()
    if not child:
        anyio.run(main, Path(sys.argv[1]))
    os.write(2, b"%d\\n" % child)
    os.waitpid(child, 0)
    os.write(2, b"dead\\n")
"""


@contextmanager
def small_disk(directory: Path) -> Iterator[list[str]]:
    """The start of a command line that runs with ``directory`` on a file system of 2 MB."""
    directory.mkdir()
    mount = f'mount -t tmpfs -o size=2m,mode=700 tmpfs "{directory}" && exec "$@"'
    prefix = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    probe = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no small file system can be mounted here: {probe.stderr.decode().strip()}")
    yield prefix


@pytest.mark.needs("unshare")
def test_a_full_disk_refuses_writes_loses_nothing_and_recovers(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as prefix:
        command = [*prefix, sys.executable, "-c", FULL_DISK, str(tmp_path / "disk")]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("kept")


async def test_a_kill_at_any_time_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """G2: after each of the kills everything that was acknowledged is there, whole, and the store goes on."""
    chance, acknowledged = random.Random(1), 0  # noqa: S311 - a repeatable choice of moments
    command = [sys.executable, "-c", WRITING, str(tmp_path)]
    with subprocess.Popen(  # noqa: ASYNC220 - the test itself is what waits
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as parent:
        assert parent.stdin
        assert parent.stdout
        assert parent.stderr
        for _ in range(KILLS):
            parent.stdin.write(b"go\n")
            parent.stdin.flush()
            child = int(parent.stderr.readline())
            for _ in range(chance.randrange(1, 12)):
                acknowledged = int(parent.stdout.readline())
            os.kill(child, signal.SIGKILL)
            assert parent.stderr.readline() == b"dead\n"
            os.set_blocking(parent.stdout.fileno(), False)
            for line in (parent.stdout.read() or b"").splitlines():
                acknowledged = int(line)
            os.set_blocking(parent.stdout.fileno(), True)
            store = await open_store(tmp_path)
            assert store.revision >= acknowledged
            # Both objects of a batch, or none of them.
            counter = store.get(route_ref("counter"))
            assert counter is not None
            assert store.revision % 2 == 0
            assert counter.revision == store.revision - 1
            await store.close()
        parent.stdin.close()
        parent.wait(10)


async def test_a_damaged_store_is_refused_and_never_replaced(tmp_path: Path) -> None:
    """G3, A3: pages overwritten, the file cut at many lengths, text in its place."""
    healthy = tmp_path / "healthy"
    store = await open_store(healthy)
    await store.apply(ALICE, [route(f"r{number}", text="x" * 500) for number in range(200)])
    await store.close()
    whole = (healthy / FILE).read_bytes()
    damaged = [whole[: len(whole) * part // 8] for part in range(8)]
    damaged += [whole[:4096] + bytes([255]) * 8192 + whole[12288:], b"\x00" * len(whole), b"apiVersion: v1\n"]
    for number, content in enumerate(damaged):
        directory = tmp_path / str(number)
        shutil.copytree(healthy, directory)
        (directory / FILE).write_bytes(content)
        with pytest.raises(UnusableError) as caught:
            await open_store(directory)
        assert caught.value.problem.code == "WFT-1502", (number, caught.value)
        assert FILE in str(caught.value)
        assert (directory / FILE).read_bytes() == content


async def test_two_processes_never_share_a_data_directory(tmp_path: Path) -> None:
    """G7."""
    store = await open_store(tmp_path)
    code = "import sys, anyio; from pathlib import Path; from tests.support.stores import open_store\n"
    code += "anyio.run(open_store, Path(sys.argv[1]))"
    ran = subprocess.run(  # noqa: ASYNC221 - as above
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 1
    assert "WFT-1503" in ran.stderr
    assert str(os.getpid()) in ran.stderr
    await store.close()


async def test_twenty_writers_lose_no_update(tmp_path: Path) -> None:
    """B10: each reads, adds one and writes back; who was overtaken is told, and tries again."""
    store = await open_store(tmp_path, keep=100_000)
    made = record(await store.create(ALICE, route("counter", x=0)))
    refused = 0

    async def write() -> None:
        nonlocal refused
        for _ in range(UPDATES):
            while True:
                read = store.get(made.ref)
                assert read is not None
                document = read.as_document
                spec = document.data["spec"]
                assert isinstance(spec, dict)
                data = {**document.data, "spec": {"x": spec["x"] + 1}}
                outcome = await store.replace(ALICE, type(document)(ref=made.ref, data=data, origin=document.origin))
                if outcome.verb is not Verb.REFUSED:
                    break
                assert outcome.reason is Reason.CONFLICT
                refused += 1

    async with anyio.create_task_group() as group:
        for _ in range(WRITERS):
            group.start_soon(write)
    last = store.get(made.ref)
    assert last is not None
    assert last.as_document.data["spec"] == {"x": WRITERS * UPDATES}
    assert store.revision == WRITERS * UPDATES + 1
    assert refused > 0
    history = await store.history(limit=1000)
    assert [change.revision for change in history] == list(range(store.revision, store.revision - 1000, -1))
    await store.close()
