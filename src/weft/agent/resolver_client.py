"""The agent's side of ``resolver.sock``: giving a namespace's DNS sockets, taking back those of stopped workloads."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import anyio

from weft.agent import processes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from weft.agent.processes import Namespace


class ResolverError(Exception):
    """The resolver is absent or did not answer."""


async def add(path: Path, workload: str, namespace_name: str, namespace: Namespace, log: Path) -> None:
    """Let the resolver answer inside ``namespace``. Raises ``StartError`` when it is absent or refuses."""
    order: dict[str, object] = {
        "join": namespace.descriptors,
        "dns": {"socket": str(path), "label": {"workload": workload, "namespace": namespace_name}},
    }
    await processes.helper(order, namespace.descriptors, log)


async def keep(path: Path, workloads: Iterable[str]) -> frozenset[str]:
    """Take back the sockets of every other workload; those that the resolver has. Raises ``ResolverError``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as peer:
        try:
            with anyio.fail_after(5):
                peer.connect(str(path))
                peer.send(json.dumps({"keep": sorted(workloads)}).encode())
                await anyio.wait_readable(peer)
                return frozenset(json.loads(peer.recv(1 << 16))["have"])
        except (OSError, ValueError, KeyError) as error:
            raise ResolverError(f"{path}: {error!r}") from error


async def wait(path: Path, timeout_seconds: float) -> bool:
    """Wait until the resolver listens; whether it does."""
    with anyio.move_on_after(timeout_seconds):
        while True:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as probe:
                if probe.connect_ex(str(path)) == 0:
                    return True
            await anyio.sleep(0.01)
    return False
