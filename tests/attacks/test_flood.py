"""D1 and D9: rapid resets against an edge and a workload, and a service that answers nothing but errors."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from benchmarks import rig
from tests.support.figures import figure
from tests.support.garbage import PREFACE, RAPID, SETTINGS, attack, frame
from tests.support.system import System, request, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]
RESETS: Final = 20_000
STREAMS: Final = 500
"""After so many the connection is cut."""
ASKED: Final = b"\x82\x86\x84\x41\x09localhost"
"""A header block: GET http / of localhost."""
RATE: Final = 200
MOST: Final = 2.0
"""Without a budget it would be 3."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def mesh() -> AsyncIterator[System]:
    async with running() as system:
        await system.until_answered("/call/back/")
        yield system


async def inbound(mesh: System) -> Path:
    """The socket at which the proxy of ``front`` is called."""
    (host,) = (await mesh.ask("/weft/v1/hosts"))["items"]
    (found,) = [each for each in host["workloads"] if each["name"] == "front-v1-0"]
    return Path(found["ports"][0]["listen"]["path"])


async def resets(where: Path | tuple[str, int]) -> int:
    """Streams that are begun and reset at once on one connection, until it is cut: how many were written before that."""
    if isinstance(where, Path):
        reader, writer = await asyncio.open_unix_connection(str(where))
    else:
        reader, writer = await asyncio.open_connection(*where)
    writer.write(PREFACE + SETTINGS)
    await reader.read(1_000)
    ended = asyncio.ensure_future(reader.read())
    sent = 0
    try:
        for number in range(RESETS):
            stream = 2 * number + 1
            writer.write(frame(1, 5, stream, ASKED) + frame(3, 0, stream, (8).to_bytes(4, "big")))
            sent += 1
            if number % 25 == 0:
                await writer.drain()
                done, _ = await asyncio.wait([ended], timeout=0.01)
                if done or reader.at_eof():
                    break
    except ConnectionError:
        pass
    finally:
        ended.cancel()
        writer.transport.abort()
    return sent


async def attacked_edge(mesh: System) -> dict[str, Any]:
    return next(row for row in await mesh.rows() if row["kind"] == "gateway")


@pytest.mark.parametrize("kind", RAPID)
@pytest.mark.parametrize("side", ["edge", "inbound"])
async def test_rapid_resets_are_cut_and_others_do_not_wait(mesh: System, side: str, kind: str) -> None:
    """D1. The attacker of the load is a process of its own."""
    where = await mesh.gateway() if side == "edge" else await inbound(mesh)
    assert (await request(where, "front" if side == "inbound" else "localhost", "/"))[0] == 200
    counts = [await resets(where) for _ in range(5)]
    row = await mesh.row("front-v1-0", "proxy") if side == "inbound" else await attacked_edge(mesh)
    before = rig.cpu_seconds(row["pid"])
    alone = await mesh.load("/call/back/", 3)
    middle = rig.cpu_seconds(row["pid"])
    connected = 0

    async def attacked() -> None:
        nonlocal connected
        connected = await attack(kind, 4, where)

    beside = await mesh.during("/call/back/", 6, attacked, after=0.2)
    # Of the proxy's time at work what others' calls do not explain: they were as many each second, for half as long.
    taken = rig.cpu_seconds(row["pid"]) - middle - 2 * (middle - before)
    slower = beside.percentile(0.5) / alone.percentile(0.5) - 1
    p50 = f"p50 {1000 * alone.percentile(0.5):.1f} -> {1000 * beside.percentile(0.5):.1f} ms ({slower:+.0%})"
    figure(
        "D1",
        f"{side}, {kind}: cut after {min(counts)} to {max(counts)} streams; {connected} connections beside others:"
        f" {beside.statuses}, {taken:+.2f} s of the proxy's CPU time, {p50}",
    )
    assert max(counts) <= STREAMS
    assert connected > 0
    assert beside.failed == 0, beside.failures


async def asked(mesh: System) -> tuple[int, int, int]:
    """Of the proxy of ``front``: requests that its application made, those that it sent, and retries that had no budget."""
    text = await mesh.ask_agent_text("/v1/proxies/default/front-v1-0/admin/stats?usedonly")
    found = {
        name: int(value) for name, _, value in (line.partition(": ") for line in text.splitlines()) if value.isdigit()
    }

    def total(end: str) -> int:
        return sum(
            value for name, value in found.items() if name.startswith("cluster.outbound|") and name.endswith(end)
        )

    made = sum(
        value
        for name, value in found.items()
        if name.startswith("http.outbound") and name.endswith(".downstream_rq_total")
    )
    return made, total(".upstream_rq_total"), total(".upstream_rq_retry_overflow")


async def errors(mesh: System) -> tuple[float, int, int]:
    """``back`` answers 503 under load: requests that it got for each from outside, retries refused, requests from outside."""
    for _ in range(60):
        await mesh.get("/call/back/mode/503")
    before = await asked(mesh)
    load = await mesh.load("/call/back/", 5, rate=RATE)
    after = await asked(mesh)
    for _ in range(60):
        await mesh.get("/call/back/mode/200")
    made, sent, overflow = (new - old for new, old in zip(after, before, strict=True))
    assert load.statuses.get(503, 0) > 0.9 * load.sent
    assert made >= load.sent
    return sent / load.sent, overflow, load.sent


async def test_a_backend_that_answers_only_errors_is_asked_no_more_often_for_it(mesh: System) -> None:
    """D9, over two hops that both try again what nobody answered: an application's 503 is an answer."""
    share, _, count = await errors(mesh)
    figure("D9", f"{share:.2f} requests at the last of two hops for each from outside, {count} at {RATE}/s")
    assert share <= 1.2


AGAIN: Final = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: again}
spec:
  parentRefs: [{group: "", kind: Service, name: back}]
  rules: [{backendRefs: [{name: back, port: 80}], retry: {codes: [503], attempts: 2}}]
"""


async def test_retries_that_a_rule_asks_for_have_a_budget(mesh: System) -> None:
    """D9 where a rule says that 503 is tried again: 20 % of what is under way, or three at a time."""
    await mesh.apply(AGAIN)
    await mesh.until(lambda: budgeted(mesh), "the rule holds")
    share, overflow, count = await errors(mesh)
    figure(
        "D9", f"{share:.2f} requests for each, where a rule lists 503; {overflow} retries refused, {count} at {RATE}/s"
    )
    assert overflow > 0
    assert share < MOST


async def budgeted(mesh: System) -> bool:
    """Whether the newest rule reached the proxy of ``front``."""
    items = (await mesh.ask("/weft/v1/proxies/sidecar/default/front-v1-0/resources?kind=VirtualHost&state=held"))[
        "items"
    ]
    return any("again" in str(item["resource"]) for item in items)
