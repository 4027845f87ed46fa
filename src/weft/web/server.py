"""The API on its sockets: HTTP/1.1 by uvicorn, with the identity of the process at the other end of a unix socket."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Final

import anyio
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from weft import private

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from starlette.types import ASGIApp

GRACE_SECONDS: Final = 3
"""How long requests may take to end when the server stops."""

MAX_HEADER_BYTES: Final = 64 * 1024
MAX_CONNECTIONS: Final = 2_000


class PeerProtocol(H11Protocol):
    """``scope["client"]`` of a unix socket is ``("uid:<uid>", <pid>)``, as the kernel says it (SO_PEERCRED)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        if peer is not None and peer.family == socket.AF_UNIX:
            who = private.peer(peer)
            self.client = (f"uid:{who.uid}", who.pid)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the task tree."""
        yield


async def serve(app: ASGIApp, listener: socket.socket, closing: anyio.Event) -> None:
    """Answer on ``listener`` until cancelled; then end watches, let requests finish, and close."""
    config = uvicorn.Config(
        app,
        http=PeerProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_SECONDS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )
    server = _Server(config)

    async def answering() -> None:
        # Shielded: a server that is cancelled leaves its connections open. It ends by should_exit.
        with anyio.CancelScope(shield=True):
            await server.serve(sockets=[listener])

    async with anyio.create_task_group() as group:
        group.start_soon(answering)
        try:
            await anyio.sleep_forever()
        finally:
            closing.set()
            server.should_exit = True
