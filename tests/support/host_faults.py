"""What is done to several hosts while calls go from each to the others, and what it cost.

The promises' faults of more than one host: tests/envoy/test_hosts_rotation.py asserts their short form, ``benchmarks.faults``
measures the long one.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import anyio

from tests.support import meshes, strangers, system
from tests.support.faults import CALL, Outcome, loaded
from tests.support.hosts import MAIN
from tests.support.meshes import echo, front, service
from weft.names import ALPN_HTTP, RELAY_PORT, peer_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.hosts import Host, Rig

FRONT: Final = "sidecar/default/front-v1-0"
HELLO: Final = system.ROOT / "tests" / "support" / "apps" / "hello.py"
HTTP2: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
TALK: Final = """
import os, socket, sys, time
name, stop = sys.argv[1:]
where = os.environ.get("MAIL_HOST", name), int(os.environ.get("MAIL_PORT", "2525"))
said, connected = 0, 0
while not os.path.exists(stop):
    try:
        with socket.create_connection(where, timeout=10) as connection:
            reader = connection.makefile("r")
            reader.readline()
            connected += 1
            while not os.path.exists(stop):
                connection.sendall(b"still there\\n")
                if reader.readline() != "still there\\n":
                    break
                said += 1
                print(said, connected, flush=True)
                time.sleep(0.05)
    except OSError as error:
        print(repr(error), file=sys.stderr, flush=True)
        time.sleep(0.05)
"""
"""One TCP connection for as long as nobody ends it; prints lines answered, and connections made, after each line."""


def mesh(names: tuple[str, ...], capture: str) -> str:
    """``front`` on the first host calls ``back`` on all; ``mail`` on the last speaks TCP, first."""
    line = f"capture: {capture}"
    mail = (f"command: [{sys.executable}, {HELLO}]", "port: 2525", "protocol: tcp", f"hosts: [{names[-1]}]")
    return meshes.mesh(
        front("needs: [mail]", line),
        echo("back", f"replicas: {len(names)}", f"hosts: [{', '.join(names)}]", line),
        service("mail", *mail, line),
    )


async def answers_everywhere(made: Rig) -> bool:
    """Whether the last few calls were answered by every host's ``back``."""
    bodies = [(await made.control.get(CALL))[1] for _ in range(8 * len(made.hosts))]
    return {body.split()[2] for body in bodies if len(body.split()) > 2} == {
        f"default/back-v1-{number}" for number in range(len(made.hosts))
    }


class Talk:
    """The lines of one long connection: how many were answered, and how many connections it took."""

    answered = 0
    connections = 0
    said = ""


@asynccontextmanager
async def talking(host: Host) -> AsyncIterator[Talk]:
    """``front`` of this host talks to ``mail`` meanwhile. The figures are whole after the end."""
    found = Talk()
    with TemporaryDirectory(prefix="weft-") as directory:
        stop = Path(directory) / "stop"

        async def talk() -> None:
            words = ("exec", "front-v1-0", "--", sys.executable, "-c", TALK, "mail", str(stop))
            process = await asyncio.create_subprocess_exec(
                *host.inside(sys.executable, "-c", MAIN, *words),
                env={key: value for key, value in host.environ.items() if key != "WEFT_ADDRESS"},
                cwd=host.directory,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            assert process.stdout is not None
            try:
                async for line in process.stdout:
                    words_ = line.split()
                    if len(words_) == 2 and words_[0].isdigit():
                        found.answered, found.connections = int(words_[0]), int(words_[1])
                    else:
                        found.said += line.decode()
                await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(talk)
            with anyio.fail_after(30):
                while not found.answered:  # noqa: ASYNC110 - another process says it
                    await asyncio.sleep(0.05)
            try:
                yield found
            finally:
                stop.touch()


async def rotated(host: Host) -> str:
    """``weft trust rotate``, and until it has ended by itself; the new authority."""
    code, out, err = await host.weft("trust", "rotate")
    assert code == 0, (out, err)

    async def ended() -> bool:
        found = await host.ask("/weft/v1/authorities")
        states: list[str] = [each["state"] for each in found["authorities"]]
        return sorted(set(states)) == ["active", "revoked"]

    await host.until(ended, "the rotation has ended", 120)
    active: list[dict[str, Any]] = (await host.ask("/weft/v1/authorities"))["authorities"]
    return str(next(each["id"] for each in active if each["state"] == "active"))


async def admitted(address: str, name: str, shown: Path) -> bool:
    """Whether the proxy behind a host proxy speaks HTTP/2 with whoever shows this certificate."""
    context = strangers.context(shown, ALPN_HTTP)
    try:
        reader, writer = await asyncio.open_connection(address, RELAY_PORT, ssl=context, server_hostname=name)
    except (ssl.SSLError, OSError):
        return False
    try:
        writer.write(HTTP2)
        # in TLS 1.3 a server judges the certificate after our side is done
        return (await asyncio.wait_for(reader.readexactly(9), 10))[3:4] == b"\4"
    except (ssl.SSLError, OSError, asyncio.IncompleteReadError):
        return False
    finally:
        writer.close()


async def admitting(made: Rig, shown: Path) -> list[str]:
    """The hosts on which ``back`` takes this certificate."""
    found = []
    for number, host in enumerate(made.hosts):
        name = peer_name(8080, f"back-v1-{number}", "default", host.name)
        if await admitted(host.address, name, shown):
            found.append(host.name)
    return found


async def root_rotated(made: Rig, *, seconds: float, rate: int, rotations: int = 1) -> Outcome:
    """E12 and E13: the root, and with it every certificate, is replaced under load, ``rotations`` times. ``failed`` requests,
    ``cut`` long connections, and on how many hosts a certificate of the old root is still taken (``old_accepted``): every
    host takes it before, and a new one after. ``unloaded_seconds``: for how long the load had ended before the rotations.
    """
    await ready(made)
    names = [host.name for host in made.hosts]
    with TemporaryDirectory(prefix="weft-") as directory:
        (Path(directory) / "old").mkdir()
        (Path(directory) / "new").mkdir()
        old = (await strangers.svid(made.control, FRONT, Path(directory) / "old")).file
        assert await admitting(made, old) == names
        taken: list[float] = []

        async def rotate() -> None:
            for _ in range(rotations):
                begun = anyio.current_time()
                await rotated(made.control)
                taken.append(anyio.current_time() - begun)

        async with talking(made.control) as talk:
            load = await made.control.during(CALL, seconds, rotate, rate=rate)
        assert len(taken) == rotations
        new = (await strangers.svid(made.control, FRONT, Path(directory) / "new")).file
        assert await admitting(made, new) == names
        accepted = await admitting(made, old)
    assert talk.answered > seconds, talk.said
    return loaded(
        load,
        talk.said,
        cut=talk.connections - 1,
        old_accepted=len(accepted),
        rotation_seconds=max(taken),
        unloaded_seconds=max(0.0, sum(taken) + 1.0 - seconds),
    )


async def ready(made: Rig) -> None:
    await made.until_everything_serves()
    await made.control.until_answered(CALL)
    await made.control.until(lambda: answers_everywhere(made), "every host answers")


BOTH_WAYS: Final = "/call/there/call/here/"
"""From outside to ``front``, which calls the other host, which calls the first."""


def both_ways(other: str) -> str:
    """``front`` and ``here`` on the first host, ``there`` on ``other``."""
    service = """
    {0}:
      command: [{1}, {2}]
      ports: [{{name: http, port: 80, targetPort: 8080}}]
      {3}"""
    places = {"front": "expose: {port: 8080}", "here": "", "there": f"hosts: [{other}]"}
    made = "".join(service.format(name, sys.executable, system.ECHO, more) for name, more in places.items())
    return f"apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: test}}\nspec:\n  services:{made}\n"


async def clock_off(made: Rig, other: str, *, seconds: float, rate: int) -> Outcome:
    """E17: the wall clock of host ``other`` is off (``clocks``); it has joined. Calls go both ways while the root, and with it
    every certificate, is replaced. ``off_seconds``: how far apart the clocks are by what an application of each host reads.
    """
    await made.until_everything_serves()
    await made.control.until_answered(BOTH_WAYS)
    apart = await _clock(made[other], "there") - await _clock(made.control, "here")
    load = await made.control.during(BOTH_WAYS, seconds, lambda: rotated(made.control), rate=rate)
    return loaded(load, off_seconds=abs(apart))


async def _clock(host: Host, service: str) -> float:
    words = ("exec", f"{service}-v1-0", "--", sys.executable, "-c", "import time; print(time.time())")
    code, out, err = await host.weft(*words)
    assert code == 0, (out, err)
    return float(out)
