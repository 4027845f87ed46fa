"""What a proxy costs each request, and how much later the answer comes.

One caller (``wrk``) asks for 1 kB over HTTP/1.1 in five ways, one after the other and all of them several times:

- ``direct``: from the upstream itself, an Envoy that answers everything;
- ``plain_one``, ``plain_two``: through one or two Envoys with the least configuration that forwards a request, written by hand:
  a listener, the router, a cluster; no statistics tags, access log, retries or other filter;
- ``weft_one``: through the outbound side of one of weft's proxies; ``weft_two``: and through the inbound side of another, as
  every call between two services of a mesh goes. Configured by a real control plane.

``<way>_cpu_us`` is user and system time of the proxies in between (``/proc``; the upstream and the caller are not counted) per
request with eight connections. ``<way>_added_ms_p50`` and ``_p99`` are latencies at one connection, less those of ``direct``.
Each is the median of the rounds. ``*_ratio_to_plain`` compares with the hand-written configuration of as many proxies.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec

from benchmarks import rig
from weft.model.service import Address, HostReport

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUNDS: Final = 3
SECONDS: Final = 2
BUSY: Final = 8
"""Connections when CPU time is measured."""

_UNITS: Final = {"us": 1e-3, "ms": 1.0, "s": 1e3}


class Way(msgspec.Struct, frozen=True):
    """Where to ask, by which name, and the processes of the proxies in between."""

    port: int
    host: str
    proxies: tuple[int, ...] = ()


class Run(msgspec.Struct, frozen=True):
    """What one run of ``wrk`` found: latencies in milliseconds, CPU time of the proxies in microseconds per request."""

    p50: float
    p99: float
    cpu: float


async def wrk(way: Way, connections: int) -> Run:
    """One run. Raises when a request was not answered 200."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-H", f"Host: {way.host}"]
    before = sum(map(rig.cpu_seconds, way.proxies))
    done = await anyio.run_process([*command, f"http://127.0.0.1:{way.port}/"])
    used = sum(map(rig.cpu_seconds, way.proxies)) - before
    text = done.stdout.decode()
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(text)
    percentiles = {
        found[0]: float(found[1]) * _UNITS[found[2]] for found in re.findall(r"(\d+)%\s+([\d.]+)(\w+)", text)
    }
    [requests] = re.findall(r"(\d+) requests in", text)
    return Run(percentiles["50"], percentiles["99"], used * 1e6 / int(requests))


async def ways(directory: Path, stack: AsyncExitStack) -> dict[str, Way]:
    """Start everything."""
    upstream = directory / "up.sock"
    ports = {name: rig.free_port() for name in ("direct", "plain_one", "plain_two", "weft")}

    async def start(name: str, configuration: str) -> int:
        return await stack.enter_async_context(rig.envoy(configuration, directory, name))

    def forward(listen: dict[str, Any], to: Path, name: str) -> str:
        route = {"match": {"prefix": "/"}, "route": {"cluster": "next"}}
        cluster = rig.plain_cluster("next", {"pipe": {"path": str(to)}})
        return rig.plain(listen, [route], [cluster], directory / f"{name}-admin.sock")

    def tcp(port: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    body = "x" * 1024
    await start("direct", rig.answering(("127.0.0.1", ports["direct"]), directory / "direct-admin.sock", body))
    await start("upstream", rig.answering(upstream, directory / "up-admin.sock", body))
    one = await start("plain-one", forward(tcp(ports["plain_one"]), upstream, "plain-one"))
    inner = directory / "plain-in.sock"
    outer = await start("plain-outer", forward(tcp(ports["plain_two"]), inner, "plain-outer"))
    second = await start("plain-inner", forward({"pipe": {"path": str(inner)}}, upstream, "plain-inner"))
    front, back = await meshed(directory, stack, upstream, ports["weft"])
    return {
        "direct": Way(ports["direct"], "direct"),
        "plain_one": Way(ports["plain_one"], "plain", (one,)),
        "plain_two": Way(ports["plain_two"], "plain", (outer, second)),
        "weft_one": Way(ports["weft"], "bare", (front,)),
        "weft_two": Way(ports["weft"], "back", (front, back)),
    }


async def meshed(directory: Path, stack: AsyncExitStack, upstream: Path, port: int) -> tuple[int, int]:
    """A mesh in which ``front`` calls ``bare``, which has no proxy, and ``back``, which has one: the two proxies."""
    control = await stack.enter_async_context(rig.control_process(directory))
    inbound = directory / "back.sock"
    outbound = Address(ip="127.0.0.1", port=port)
    await control.apply(rig.service("bare") + rig.service("back"))
    made = (
        rig.workload("front", directory / "front.sock", outbound),
        rig.workload("bare", upstream, app="bare"),
        rig.workload("back", inbound, application=Address(path=str(upstream)), app="back"),
    )
    await control.report(HostReport(host="bench", workloads=made))
    pids = []
    for name in ("front", "back"):
        started = await stack.enter_async_context(rig.proxy(control.paths, f"sidecar/default/{name}", directory))
        pids.append(started.pid)
    await rig.connected(inbound)
    return pids[0], pids[1]


async def measure(directory: Path) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        found = await ways(directory, stack)
        for way in found.values():
            caller = await rig.connected(("127.0.0.1", way.port))
            _, status = caller.call(way.host)
            if status != 200:
                raise RuntimeError(f"{way} answered {status}")
        alone: dict[str, list[Run]] = {name: [] for name in found}
        busy: dict[str, list[Run]] = {name: [] for name in found}
        for _ in range(ROUNDS):
            for name, way in found.items():
                alone[name].append(await wrk(way, 1))
                busy[name].append(await wrk(way, BUSY))
    return figures_of(alone, busy)


def figures_of(alone: Mapping[str, list[Run]], busy: Mapping[str, list[Run]]) -> dict[str, float]:
    p50 = {name: statistics.median(run.p50 for run in runs) for name, runs in alone.items()}
    p99 = {name: statistics.median(run.p99 for run in runs) for name, runs in alone.items()}
    cpu = {name: statistics.median(run.cpu for run in runs) for name, runs in busy.items()}
    figures = {"direct_ms_p50": p50["direct"], "direct_ms_p99": p99["direct"]}
    for name in p50.keys() - {"direct"}:
        figures[f"{name}_cpu_us"] = cpu[name]
        figures[f"{name}_added_ms_p50"] = p50[name] - p50["direct"]
        figures[f"{name}_added_ms_p99"] = p99[name] - p99["direct"]
    for count in ("one", "two"):
        figures[f"{count}_cpu_ratio_to_plain"] = cpu[f"weft_{count}"] / cpu[f"plain_{count}"]
        figures[f"{count}_added_ratio_to_plain"] = (
            figures[f"weft_{count}_added_ms_p50"] / figures[f"plain_{count}_added_ms_p50"]
        )
    return figures


def main() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: run tools/install-test-tools")
    directory = Path(tempfile.mkdtemp(prefix="weft-"))
    try:
        print(json.dumps(anyio.run(measure, directory)))  # noqa: T201 - the figures
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
