"""The control plane's own metrics: valid, and of a fixed number of series."""

from __future__ import annotations

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.control import SHOP, Plane, Proxy, workload, world
from weft.control import metrics

pytestmark = pytest.mark.anyio


def values(plane: Plane) -> dict[tuple[str, str], float]:
    text = metrics.text(plane.settler, plane.fleet)
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_before_the_first_run_there_is_little_to_say() -> None:
    found = values(Plane())
    assert found["weft_settle_runs_total", ""] == 0
    assert ("weft_services", "") not in found


async def test_runs_services_and_proxies_are_counted() -> None:
    plane = Plane()
    plane.publish(world(SHOP, workload("web-1")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plane.settler.run)
        await plane.until(lambda: plane.settler.settled.value is not None)
        gone = Proxy(plane.fleet, "sidecar/default/gone")
        plane.fleet.leave(gone.connection)
        Proxy(plane.fleet, "sidecar/default/web-1")
        found = values(plane)
        tasks.cancel_scope.cancel()
    assert found["weft_services", ""] == 2
    assert found["weft_xds_events_total", "streams"] == 2
    assert found["weft_proxies", "GONE"] == 1
    assert sum(value for (name, _), value in found.items() if name == "weft_proxies") == 2
