"""The door's Envoy on the host that runs control, kept running as every other proxy of this host is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from weft.agent.proxy import Proxy, UpgradeError
from weft.model.service import Address
from weft.names import DOOR_PORT, SYSTEM_NAMESPACE

if TYPE_CHECKING:
    from pathlib import Path

    from weft.agent.settings import Settings
    from weft.agent.svids import Snapshot
    from weft.latest import Latest

_LOG: Final = logging.getLogger(__name__)

FILES: Final = ("svid.json", "bundles.json")
WAIT_SECONDS: Final = 60.0
"""For control to write what the door shows; Envoy ends without, and is started again."""


def node(settings: Settings) -> str:
    return f"door/{SYSTEM_NAMESPACE}/{settings.host}"


def render(settings: Settings) -> bytes:
    """The door's whole configuration."""
    # Only an agent that runs a door needs these messages.
    from weft.envoy.door import DoorInput, bootstrap  # noqa: PLC0415 - as said

    paths = settings.paths
    return bootstrap(
        DoorInput(
            node=node(settings),
            listen=Address(ip=settings.address, port=DOOR_PORT),
            admin=str(paths.sockets(node(settings)) / "admin.sock"),
            secrets=str(paths.door),
            xds=str(paths.door_xds_socket),
            api=str(paths.door_api_socket),
        )
    )


def proxy(settings: Settings, binary: Path) -> Proxy:
    """The door's Envoy, to be run beside control."""

    async def files(_: str) -> None:
        with anyio.move_on_after(WAIT_SECONDS):
            while not all((settings.paths.door / name).exists() for name in FILES):  # noqa: ASYNC110 - another process writes
                await anyio.sleep(0.05)

    return Proxy(
        node(settings),
        settings.paths,
        binary,
        settings.concurrency,
        lambda: render(settings),
        secrets=files,
    )


def adopt(door: Proxy, settings: Settings) -> None:
    """Take over the door of an earlier agent; one that listens elsewhere is not this host's any more, and is replaced."""
    try:
        before = (settings.paths.proxy(door.node) / "bootstrap-0.json").read_bytes()
    except FileNotFoundError:
        return
    if before == render(settings):
        door.child.adopt()


async def follow(door: Proxy, held: Latest[Snapshot]) -> None:
    """When an authority is revoked, another Envoy takes over and the one before ends with all its connections, until cancelled.

    Control refuses on them already whoever showed a certificate of that authority. This is for the others: a proxy asks again on
    the connection that it has, though its certificate is a new one since, and would be refused for as long as that lives.
    """
    serial, before = -1, frozenset[bytes]()
    while True:
        serial, snapshot = await held.newer_than(serial)
        roots = frozenset(snapshot.trust.bundles[0].x509) if snapshot.trust else before
        if before - roots:
            try:
                await door.upgrade()
            except UpgradeError as error:
                _LOG.warning("the door goes on with the connections that it has: %s", error)
        before = roots
