"""Real Envoys with secrets of the agent: mutual TLS, rotation without a cut, and nothing for anybody else."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.envoy.secrets_rig import CALLEE, CALLER, running, secrets_rig
from tests.support.figures import figure
from tests.support.little_authority import identity
from weft.agent import svids

if TYPE_CHECKING:
    from pathlib import Path

    from tests.envoy.secrets_rig import SecretsRig

pytestmark = [pytest.mark.anyio, pytest.mark.envoy]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def pair(rig: SecretsRig) -> tuple[asyncio.subprocess.Process, asyncio.subprocess.Process]:
    place = rig.place
    callee = await rig.start(CALLEE, place.inbound, place.application, server=True)
    caller = await rig.start(CALLER, place.outbound, place.inbound, server=False, peer=identity(CALLEE))
    return callee, caller


async def test_two_proxies_speak_mutual_tls_through_twenty_rotations_and_a_new_root(
    tmp_path: Path, envoy_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svids, "SPREAD_SECONDS", 0.02)
    async with secrets_rig(tmp_path, envoy_binary) as rig, running(*await pair(rig)):
        await rig.until("they speak", rig.connected)
        reader, writer = await asyncio.open_unix_connection(str(rig.place.outbound))
        answers: list[bytes] = []
        over = False

        async def load() -> None:
            while not over:
                answers.append(await rig.ask())
                writer.write(b"long\n")
                answers.append(await asyncio.wait_for(reader.readline(), 20))

        leaves = {rig.leaf(CALLEE)}
        async with anyio.create_task_group() as group:
            group.start_soon(load)
            for _ in range(20):
                rig.authority.relabel()
                label = rig.authority.line.value.authority
                await rig.until("both took the new leaf", lambda label=label: _authorities(rig) == {label})
                leaves.add(rig.leaf(CALLEE))
            rig.authority.prepare()
            await rig.until("both took it", lambda: _authorities(rig) == {rig.authority.line.value.authority})
            rig.authority.forget()
            await rig.until("both forgot", lambda: _sequences(rig) == {rig.authority.line.value.sequence})
            before = len(answers)
            await rig.until("and still speak", lambda: len(answers) > before + 4)
            over = True
        writer.close()
        assert len(leaves) == 21
        failed = sum(answer not in (b"ping\n", b"long\n") for answer in answers)
        figure(
            "E12", f"{failed} of {len(answers)} failed and 0 of 1 long connections cut in 20 rotations and a new root"
        )
        assert failed == 0


def _authorities(rig: SecretsRig) -> set[str]:
    found = rig.sds.report()
    return {one.authority for one in found.values()} if len(found) == 2 else set()


def _sequences(rig: SecretsRig) -> set[int]:
    return {one.sequence for one in rig.sds.report().values()}


async def test_a_proxy_waits_shut_until_there_is_a_bundle_and_then_opens(tmp_path: Path, envoy_binary: Path) -> None:
    async with secrets_rig(tmp_path, envoy_binary) as rig:
        rig.authority.refuses = {CALLEE}
        async with running(*await pair(rig)):
            await rig.until("the caller has its own", lambda: CALLER in rig.sds.report())
            assert "LIVE" not in await rig.admin(CALLEE, "/ready")
            rig.authority.refuses = set()
            await rig.until("it opens", rig.connected)


async def test_past_the_life_of_its_svids_a_host_works_again_within_ten_seconds(
    tmp_path: Path, envoy_binary: Path
) -> None:
    """As after a sleep: nothing could be renewed, everything has ended, and then control answers again."""
    async with secrets_rig(tmp_path, envoy_binary, life_seconds=4) as rig, running(*await pair(rig)):
        await rig.until("they speak", rig.connected)
        away = rig.place.control.with_suffix(".away")
        await anyio.Path(rig.place.control).rename(away)

        async def refused() -> bool:
            return not await rig.connected()

        await rig.until("their SVIDs are over", refused)
        assert all(svid.not_after <= time.time() for svid in rig.snapshot.svids.values())
        await anyio.Path(away).rename(rig.place.control)
        begun = time.monotonic()
        await rig.until("they speak again", rig.connected)
        taken = time.monotonic() - begun
        figure("C15", f"{taken:.1f} s from when control answered again until two proxies spoke")
        assert taken < 10


async def test_secrets_are_for_the_process_that_was_started_for_a_node_and_for_nobody_else(
    tmp_path: Path, envoy_binary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with secrets_rig(tmp_path, envoy_binary) as rig:
        place = rig.place
        callee = await rig.start(CALLEE, place.inbound, place.application, server=True)
        liar = await rig.start(CALLER, place.outbound, place.inbound, server=False, peer=identity(CALLEE))
        for key in [key for key in rig.proxies if key[0] == liar.pid]:
            rig.proxies[key] = "sidecar/default/other-v1-0"
        async with running(callee, liar):
            await rig.until(
                "it is refused",
                lambda: "refused" in caplog.text and "the proxy of sidecar/default/other-v1-0" in caplog.text,
            )
            rig.proxies = {key: node for key, node in rig.proxies.items() if key[0] != liar.pid}
            liar.kill()
            await liar.wait()
            other = await rig.start(CALLER, place.outbound, place.inbound, server=False)
            rig.proxies = {key: node for key, node in rig.proxies.items() if key[0] != other.pid}
            async with running(other):
                await rig.until("it is unknown", lambda: "no proxy of ours" in caplog.text)
                assert set(rig.sds.report()) <= {CALLEE}


async def test_neither_config_dump_nor_log_nor_process_shows_a_key(
    tmp_path: Path, envoy_binary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with secrets_rig(tmp_path, envoy_binary) as rig, running(*await pair(rig)):
        await rig.until("they speak", rig.connected)
        dump = await rig.admin(CALLEE, "/config_dump?include_eds")
        assert '"default"' in dump
        shown = "\n".join((dump, caplog.text, rig.logs(), repr(rig.snapshot), *_processes(rig), *_files(tmp_path)))
        assert "PRIVATE KEY" not in shown
        for svid in rig.snapshot.svids.values():
            assert svid.key.hex() not in shown
            assert repr(svid.key)[2:40] not in shown
        assert (rig.place.sds.stat().st_mode & 0o777) == 0o600


def _processes(rig: SecretsRig) -> list[str]:
    from weft.identity import proc  # noqa: PLC0415

    return [proc.text(pid, name) for pid, _ in rig.proxies for name in ("environ", "cmdline")]


def _files(directory: Path) -> list[str]:
    return [path.read_text(errors="replace") for path in directory.rglob("*") if path.is_file()]


async def test_a_banned_proxy_speaks_with_nobody_until_the_ban_is_lifted(tmp_path: Path, envoy_binary: Path) -> None:
    async with secrets_rig(tmp_path, envoy_binary) as rig, running(*await pair(rig)):
        await rig.until("they speak", rig.connected)
        for banned in (CALLEE, CALLER):
            rig.authority.ban(identity(banned))
            await rig.until("it has nothing any more", lambda banned=banned: not rig.sds.report()[banned].authority)
            assert rig.sds.report()[banned].spiffe_id == identity(banned)
            assert not await rig.connected()
            rig.authority.ban()
            await rig.until("they speak again", rig.connected)


async def test_a_client_without_an_svid_of_the_mesh_gets_nothing(tmp_path: Path, envoy_binary: Path) -> None:
    async with secrets_rig(tmp_path, envoy_binary) as rig, running(*await pair(rig)):
        await rig.until("they speak", rig.connected)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        answer = b""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            reader, writer = await asyncio.open_unix_connection(
                str(rig.place.inbound), ssl=context, server_hostname="x"
            )
            writer.write(b"ping\n")
            answer = await reader.readline()
        assert answer == b""
