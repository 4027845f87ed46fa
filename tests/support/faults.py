"""What a fault did, and how to look at the proxies while it does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import msgspec

from tests.support.system import Load

if TYPE_CHECKING:
    from tests.support.system import System

CALL = "/call/back/"
"""From outside by the gateway to ``front``, which calls ``back``: three Envoys, two applications."""


class Outcome(msgspec.Struct, frozen=True):
    """The figures of one run, each the less the better; ``load`` says what failed."""

    figures: dict[str, float]
    load: Load | None = None
    note: str = ""

    def __str__(self) -> str:
        failures = self.load.failures if self.load else ()
        return f"{self.figures} {failures} {self.note}"


def loaded(load: Load, note: object = "", **figures: float) -> Outcome:
    """The outcome of a fault under load: what failed, and whatever else was measured."""
    return Outcome({"requests": load.sent, "failed": load.failed, **figures}, load, str(note or ""))


async def proxy_rows(system: System) -> list[dict[str, Any]]:
    """The rows of everything that is an Envoy and runs."""
    return [row for row in await system.rows() if row["kind"] in ("proxy", "gateway", "egress") and row["pid"]]


async def pids(system: System, *kinds: str) -> dict[tuple[str, str], int]:
    """(name, kind) to pid."""
    return {(row["name"], row["kind"]): row["pid"] for row in await system.rows() if not kinds or row["kind"] in kinds}


async def until_connected(system: System, seconds: float = 60.0, *, streams: float = 0) -> float:
    """Until every proxy has a stream, on which it is told all there is; at least so many streams were made before."""
    count = len(await proxy_rows(system))

    async def connected() -> bool:
        said = await system.metrics()
        made = said.get('weft_xds_events_total{event="streams"}', 0)
        return said.get('weft_proxies{state="SYNCED"}') == count and made >= streams

    return await system.until(connected, f"{count} proxies are connected", seconds)


async def ready(system: System) -> None:
    """Every application serves, every proxy is connected, calls have been made and what they led to is on the disk."""
    await system.until_serving()
    await system.until_answered(CALL)
    await until_connected(system)


async def admin(system: System, name: str, path: str) -> str:
    """What one Envoy's admin interface says."""
    return (await system.ask_agent_text(f"/v1/proxies/{name}/admin/{path}")).strip()


async def stat(system: System, name: str, metric: str) -> int:
    """One counter or gauge; -1 while the Envoy does not answer."""
    try:
        text = await admin(system, name, f"stats?filter=^{metric}$")
    except (httpx2.TransportError, AssertionError):
        return -1
    return int(text.rpartition(": ")[2] or -1)


async def node_names(system: System) -> list[str]:
    """The proxies that are connected."""
    return sorted(node for node, proxy in (await system.proxies()).items() if proxy["connected"])


async def updates(system: System, nodes: list[str]) -> dict[str, str]:
    """When each proxy was last given each resource, by its own account: a resource sent again has another time."""
    found: dict[str, str] = {}

    def walk(value: object, where: str) -> None:
        if isinstance(value, dict):
            named = next((part["name"] for part in value.values() if isinstance(part, dict) and "name" in part), "")
            where = f"{where} {value.get('name', named)}".rstrip()
            if "last_updated" in value:
                found[where] = value["last_updated"]
            for part in value.values():
                walk(part, where)
        elif isinstance(value, list):
            for part in value:
                walk(part, where)

    for node in nodes:
        for number, dump in enumerate((await system.ask_agent(f"/v1/proxies/{node}/admin/config_dump"))["configs"]):
            if "bootstrap" not in dump:
                walk(dump, f"{node} {number}")
    return found


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Which resources went away, came, or were given again."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


async def sleep_until(begun: float, seconds: float) -> None:
    await anyio.sleep(max(0.0, begun + seconds - anyio.current_time()))
