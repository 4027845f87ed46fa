"""Memory of a control plane by the size of its mesh.

``python -m weft.control`` runs by itself, is given services over its API, and ten endpoints of each by host reports of 100
workloads, as agents send them. ``private_mb_*`` is what it shares with no other process (``smaps_rollup``) once everything
is compiled and was asked for nothing for two seconds; ``private_mb_empty`` the same before there was any service.
``fill_seconds_*`` is how long it took until all stood in the store and in the mesh.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

import anyio

from benchmarks.rig import control_process, private_mb

SIZES: Final = (1000, 10_000)
ENDPOINTS: Final = 10
QUIET_SECONDS: Final = 2.0


async def measure(directory: Path, services: int) -> dict[str, float]:
    async with control_process(directory) as control:
        empty = private_mb(control.pid)
        begun = time.perf_counter()
        await control.fill(services, ENDPOINTS, directory / "up.sock")
        await control.until_services(services)
        filled = time.perf_counter() - begun
        await anyio.sleep(QUIET_SECONDS)
        return {
            "private_mb_empty": empty,
            f"private_mb_{services}_services": private_mb(control.pid),
            f"fill_seconds_{services}_services": filled,
        }


async def all_sizes() -> dict[str, float]:
    figures: dict[str, float] = {}
    for services in SIZES:
        directory = Path(tempfile.mkdtemp(prefix="weft-"))
        try:
            figures |= await measure(directory, services)
        finally:
            shutil.rmtree(directory)
    return figures


def main() -> None:
    print(json.dumps(anyio.run(all_sizes)))  # noqa: T201 - the figures


if __name__ == "__main__":
    main()
