"""Which hosts are lost: those of which nothing has been heard for a while, neither their agent nor any of their proxies.

An agent may be away while its proxies serve (promise C11), so one silent agent says nothing. A host without power, or behind
a cut wire, loses everything at once; its connections to the door end within some seconds (``envoy.door``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from weft.names import node_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from weft.sources.registry import Host, Registry
    from weft.xds.fleet import Fleet

SILENT_SECONDS: Final = 15.0
"""Five of an agent's reports in a row that did not come (``agent.control.HEARTBEAT_SECONDS``)."""
LOOK_SECONDS: Final = 1.0


def silent(hosts: Iterable[Host], connected: frozenset[str], own: str, now: float, since: float) -> frozenset[str]:
    """The names of the lost ones among ``hosts``. ``own`` runs control and is never lost; ``connected`` are nodes with a stream;
    ``since`` is when control began to listen. Times are seconds since 1970.
    """
    return frozenset(
        host.report.host
        for host in hosts
        if host.report.host != own
        and now - max(host.heard, since) > SILENT_SECONDS
        and not any(
            node_id(each.placement.value, each.namespace, each.name) in connected for each in host.report.workloads
        )
    )


async def listen(registry: Registry, fleet: Fleet, own: str, clock: Callable[[], float]) -> None:
    """Keep the registry's word about lost hosts true, until cancelled."""
    since = clock()
    while True:
        await anyio.sleep(LOOK_SECONDS)
        registry.lose(silent(registry.hosts, frozenset(fleet.nodes()), own, clock(), since))
