"""What a proxy pays for the size of the mesh, and an application for the first request to a service.

A control plane in a process of its own holds 100, 1,000 and 10,000 services with one endpoint each. Beside it runs one
real Envoy whose application calls ten of them. ``allocated_mb_*`` is what Envoy says it has allocated (its admin interface,
``/memory``), ``allocated_ratio_10000_to_100`` their ratio.

In the mesh of 1,000, ``cold_request_added_ms_p50`` is how much longer the first request to a service takes than the next one
to the same service, over one connection: the median of many services. In between lie Envoy's question, view, build, the
answers and their ACKs. ``cold_request_added_ms_p99`` is the slowest but one of a hundred.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Final

import anyio

from benchmarks.rig import answering, ask_admin, connected, control_process, envoy, proxy, workload
from weft.model.service import Address, HostReport

SIZES: Final = (100, 1000, 10_000)
USED: Final = 10
COLD: Final = 80


async def measure(directory: Path, services: int) -> dict[str, float]:
    listen = directory / "up.sock"
    outbound = directory / "out.sock"
    async with (
        control_process(directory) as control,
        envoy(answering(listen, directory / "up-admin.sock"), directory, "upstream"),
    ):
        await control.fill(services, 1, listen)
        await control.report(
            HostReport(host="bench", workloads=(workload("web", directory / "in.sock", Address(path=str(outbound))),))
        )
        await control.until_services(services)
        async with proxy(control.paths, "sidecar/default/web", directory) as started:
            caller = await connected(outbound)
            for number in range(USED):
                await _called(caller.call(f"svc-{number}"))
            # What is freed later than at once is not the configuration's.
            await anyio.sleep(1)
            found = await ask_admin(started.admin, "/memory")
            figures = {f"allocated_mb_{services}_services": int(found["allocated"]) / 1e6}
            if services == 1000:
                figures |= await cold(outbound)
    return figures


async def _called(answer: tuple[float, int]) -> float:
    seconds, status = answer
    if status != 200:
        raise RuntimeError(f"a request was answered {status}")
    return seconds * 1000


async def cold(outbound: Path) -> dict[str, float]:
    """Milliseconds that a first request takes longer than the one after it."""
    caller = await connected(outbound)
    added = []
    warm = []
    for number in range(USED, USED + COLD):
        first = await _called(caller.call(f"svc-{number}"))
        second = min([await _called(caller.call(f"svc-{number}")) for _ in range(5)])
        added.append(first - second)
        warm.append(second)
        # The settling of one question shall not colour the next.
        await anyio.sleep(0.02)
    added.sort()
    return {
        "cold_request_added_ms_p50": statistics.median(added),
        "cold_request_added_ms_p99": added[int(len(added) * 0.99) - 1],
        "warm_request_ms_p50": statistics.median(warm),
    }


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
