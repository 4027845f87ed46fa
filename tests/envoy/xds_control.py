"""A control plane in a process of its own, for the test that stops it: ``python -m tests.envoy.xds_control DIRECTORY``."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from tests.envoy.xds_rig import Plane, cluster, host


async def main(directory: Path) -> None:
    control = Plane(directory)
    control.pushed = [cluster("x", directory / "app")]
    control.hosts = {"a": host("a", "x")}
    async with control.serving():
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
