"""What a proxy pays for the size of the mesh, and an application for the first request to a service.

A control plane in a process of its own holds 100, 1,000 and 10,000 services with one endpoint each. Beside it runs one
real Envoy whose application calls ten of them. ``allocated_mb_*`` is what Envoy says it has allocated (its admin interface,
``/memory``), ``allocated_ratio_10000_to_100`` their ratio.

In the mesh of 1,000, ``cold_request_added_ms_p50`` is how much longer the first request to a service takes than later ones to the
same service, over one connection: the median over eight proxies whose applications call ten services each. In between lie
Envoy's question, view, build, the answers and their ACKs. ``cold_request_added_ms_p90`` is exceeded by one in ten.
``cold_request_added_ms_p50_at_80`` is the same for an application that called 70 to 80 services before: Envoy makes its whole
route configuration anew for each name.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Final

import anyio

from benchmarks.rig import ControlProcess, answering, ask_admin, connected, control_process, envoy, proxy, workload
from weft.model.service import Address, HostReport

SIZES: Final = (100, 1000, 10_000)
USED: Final = 10
PROXIES: Final = 8
MANY: Final = 80


async def measure(directory: Path, services: int) -> dict[str, float]:
    listen = directory / "up.sock"
    async with (
        control_process(directory) as control,
        envoy(answering(listen, directory / "up-admin.sock"), directory, "upstream"),
    ):
        await control.fill(services, 1, listen)
        made = [
            workload(f"web-{number}", directory / f"in-{number}.sock", Address(path=str(outbound(directory, number))))
            for number in range(PROXIES)
        ]
        await control.report(HostReport(host="bench", workloads=tuple(made)))
        await control.until_services(services)
        async with proxy(control.paths, "sidecar/default/web-0", directory) as started:
            await first_requests(outbound(directory, 0), range(USED))
            # What is freed later than at once is not the configuration's.
            await anyio.sleep(1)
            found = await ask_admin(started.admin, "/memory")
            figures = {f"allocated_mb_{services}_services": int(found["allocated"]) / 1e6}
        return figures | (await cold(control, directory) if services == 1000 else {})


def outbound(directory: Path, number: int) -> Path:
    return directory / f"out-{number}.sock"


async def cold(control: ControlProcess, directory: Path) -> dict[str, float]:
    added: list[float] = []
    warm: list[float] = []
    late: list[float] = []
    for number in range(PROXIES):
        async with proxy(control.paths, f"sidecar/default/web-{number}", directory):
            first, later = await first_requests(outbound(directory, number), range(USED))
            added += first
            warm += later
            if number == PROXIES - 1:
                first, _ = await first_requests(outbound(directory, number), range(USED, MANY))
                late += first[-USED:]
    added.sort()
    return {
        "cold_request_added_ms_p50": statistics.median(added),
        "cold_request_added_ms_p90": added[int(len(added) * 0.9)],
        "cold_request_added_ms_p50_at_80": statistics.median(late),
        "warm_request_ms_p50": statistics.median(warm),
    }


async def first_requests(socket: Path, services: range) -> tuple[list[float], list[float]]:
    """Milliseconds that the first request to each takes longer than the best later one; and those of the later one."""
    caller = await connected(socket)
    added, warm = [], []
    for number in services:
        first = called(caller.call(f"svc-{number}"))
        later = min([called(caller.call(f"svc-{number}")) for _ in range(5)])
        added.append(first - later)
        warm.append(later)
        # The settling of one question shall not colour the next.
        await anyio.sleep(0.02)
    return added, warm


def called(answer: tuple[float, int]) -> float:
    seconds, status = answer
    if status != 200:
        raise RuntimeError(f"a request was answered {status}")
    return seconds * 1000


async def all_sizes() -> dict[str, float]:
    figures: dict[str, float] = {}
    for services in SIZES:
        directory = Path(tempfile.mkdtemp(prefix="weft-"))
        try:
            figures |= await measure(directory, services)
        finally:
            shutil.rmtree(directory)
    small, large = (figures[f"allocated_mb_{size}_services"] for size in (SIZES[0], SIZES[-1]))
    return {**figures, "allocated_ratio_10000_to_100": large / small}


def main() -> None:
    print(json.dumps(anyio.run(all_sizes)))  # noqa: T201 - the figures


if __name__ == "__main__":
    main()
