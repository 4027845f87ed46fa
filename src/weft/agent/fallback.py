"""Configuration while control is away: a process of its own, started when control is gone and ended when it is back.

A proxy that starts gets what it held last. A proxy that runs already is told nothing: what it holds may be newer than
what is on disk. When this process ends, every proxy goes back to control, which Envoy's health check has found alive.

It is apart from the agent so that the agent need not carry gRPC and Envoy's messages (docs/concepts/capture.md).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio

from weft.agent import held
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.xds.fleet import Fleet
from weft.xds.protocol import Resource, ResourceSet
from weft.xds.server import serve

if TYPE_CHECKING:
    from collections.abc import Mapping


def resources(data: bytes) -> ResourceSet:
    """The resources of a held set. Raises ``DamagedError``."""
    types: dict[str, dict[str, Resource]] = {}
    for one in held.split(data):
        response = discovery.DeltaDiscoveryResponse.FromString(one)
        found = types.setdefault(response.type_url, {})
        for resource in response.resources:
            wire = resource.SerializeToString(deterministic=True)
            found[resource.name] = Resource(name=resource.name, version=resource.version, wire=wire)
    frozen: Mapping[str, Mapping[str, Resource]] = {name: MappingProxyType(found) for name, found in types.items()}
    return ResourceSet(types=MappingProxyType(dict(frozen)))


def load(directory: Path, node: str) -> ResourceSet | None:
    """What a proxy held last; None if that is not known."""
    try:
        return resources(held.path_of(directory, node).read_bytes())
    except (FileNotFoundError, held.DamagedError):
        return None


class Offers:
    """Which proxies are answered: those that came with nothing."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self._fleet = fleet
        self._directory = directory
        self._fresh: dict[str, ResourceSet] = {}
        self._silent: set[str] = set()

    def settle(self) -> None:
        for node, demand in self._fleet.take_changes().items():
            if demand is None:
                self._fresh.pop(node, None)
                self._silent.discard(node)
            elif (found := self._decide(node)) is not None:
                self._fleet.offer(node, found, demand, 0)

    def _decide(self, node: str) -> ResourceSet | None:
        if node in self._fresh:
            return self._fresh[node]
        if node in self._silent:
            return None
        found = load(self._directory, node)
        if found is None or self._fleet.held(node):
            self._silent.add(node)
            return None
        self._fresh[node] = found
        return found


async def run(socket: Path, directory: Path) -> None:
    """Serve until cancelled."""
    fleet = Fleet(time.monotonic)
    offers = Offers(fleet, directory)
    async with anyio.create_task_group() as group:
        await group.start(serve, fleet, socket)
        serial = -1
        while True:
            serial, _ = await fleet.demands.newer_than(serial)
            offers.settle()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="weft-fallback")
    parser.add_argument("--socket", required=True, type=Path)
    parser.add_argument("--held", required=True, type=Path)
    chosen = parser.parse_args(arguments)
    chosen.socket.unlink(missing_ok=True)
    anyio.run(run, chosen.socket, chosen.held)
    return 0


if __name__ == "__main__":
    sys.exit(main())
