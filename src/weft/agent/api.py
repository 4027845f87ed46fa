"""The agent's HTTP API on ``agent.sock``: what runs, its logs, and the orders of ``weft`` (see ARCHITECTURE.md).

Only processes of the same user (and root) may speak to it: the socket is 0600, and each peer's uid is asked of the
kernel.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from weft import private
from weft.agent import edges, logs, unix_http
from weft.agent.proxy import UpgradeError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from starlette.requests import Request

    from weft.agent.machine import Row, Unit

READ_ONLY: Final = re.compile(
    r"(certs|clusters|config_dump|init_dump|listeners|memory|ready|runtime|server_info|stats(/prometheus)?|logging)"
)
LEVELS: Final = ("trace", "debug", "info", "warning", "error", "critical", "off")
LAST_LINES: Final = 100
POLL_SECONDS: Final = 0.2


class Supervisor(Protocol):
    """What the API asks of the agent."""

    def rows(self) -> tuple[Row, ...]: ...

    def find(self, name: str) -> Unit | None:
        """A unit by ``namespace/name``, or by its name alone where that is enough."""

    def log_of(self, name: str, *, proxy: bool) -> Path | None: ...

    async def restart(self, name: str) -> bool: ...

    async def stop(self, name: str) -> bool: ...

    async def start(self, name: str) -> bool: ...

    def enter(self, name: str) -> dict[str, Any] | None: ...

    def end(self) -> None:
        """Begin to stop everything."""


def answer(status: int, body: object) -> Response:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")


def unknown(name: str, supervisor: Supervisor) -> Response:
    known = ", ".join(sorted({row.name for row in supervisor.rows()})) or "nothing runs"
    message = f"there is no process {name[:100]}"
    return answer(404, {"code": "WFT-1606", "message": message, "remedy": f"Use one of: {known}."})


class Api:
    """The handlers; ``supervisor`` does the work."""

    def __init__(self, supervisor: Supervisor, names: Path) -> None:
        self._supervisor = supervisor
        self._names = names

    def application(self) -> Starlette:
        name = "/v1/processes/{name:path}"
        return Starlette(
            routes=[
                Route("/v1/processes", self.processes),
                Route(f"{name}/logs", self.logs),
                Route(f"{name}/enter", self.enter),
                Route(f"{name}/restart", self.restart, methods=["POST"]),
                Route(f"{name}/stop", self.stop, methods=["POST"]),
                Route(f"{name}/start", self.start, methods=["POST"]),
                Route("/v1/proxies/{name:path}/admin/{target:path}", self.admin, methods=["GET", "POST"]),
                Route("/v1/proxies/{name:path}/upgrade", self.upgrade, methods=["POST"]),
                Route("/v1/edges", self.edges),
                Route("/v1/stop", self.end, methods=["POST"]),
            ]
        )

    async def processes(self, _request: Request) -> Response:
        return answer(200, {"processes": self._supervisor.rows()})

    async def logs(self, request: Request) -> Response:
        """``?proxy=true`` for its Envoy's, ``?follow=true`` to go on, ``?lines=N`` to begin with the last N."""
        name, query = request.path_params["name"], request.query_params
        path = self._supervisor.log_of(name, proxy=query.get("proxy") == "true")
        if path is None:
            return unknown(name, self._supervisor)
        text = query.get("lines", str(LAST_LINES))
        if not (text.isascii() and text.isdigit() and len(text) < 7):
            return answer(400, {"code": "WFT-1607", "message": "lines is not a number", "remedy": "Write lines=100."})
        start = logs.start_of_last(path, int(text))
        return StreamingResponse(_content(path, start, follow=query.get("follow") == "true"), media_type="text/plain")

    async def edges(self, _request: Request) -> Response:
        """Who calls whom, as the proxies of this host count it."""
        return answer(200, {"items": await edges.collect(self._supervisor, self._names, time.time())})

    async def _order(self, request: Request, what: str) -> Response:
        name = request.path_params["name"]
        done = await getattr(self._supervisor, what)(name)
        return answer(200, {"name": name, "done": what}) if done else unknown(name, self._supervisor)

    async def restart(self, request: Request) -> Response:
        return await self._order(request, "restart")

    async def stop(self, request: Request) -> Response:
        return await self._order(request, "stop")

    async def start(self, request: Request) -> Response:
        return await self._order(request, "start")

    async def enter(self, request: Request) -> Response:
        name = request.path_params["name"]
        found = self._supervisor.enter(name)
        return answer(200, found) if found else unknown(name, self._supervisor)

    async def admin(self, request: Request) -> Response:
        """A proxy's admin interface, as far as it only reads; POST only for ``logging``, to set levels."""
        name, target = request.path_params["name"], request.path_params["target"]
        unit = self._supervisor.find(name)
        if unit is None or unit.proxy is None:
            return unknown(name, self._supervisor)
        allowed = request.method == "GET" if target != "logging" else True
        if not READ_ONLY.fullmatch(target) or not allowed or (target == "logging" and not _levels_only(request)):
            message = f"{request.method} {target[:100]} is not for reading"
            remedy = "Use certs, clusters, config_dump, listeners, memory, server_info, stats or logging."
            return answer(403, {"code": "WFT-1608", "message": message, "remedy": remedy})
        query = f"?{request.url.query}" if request.url.query else ""
        # Envoy changes and shows its log levels by POST only.
        method = "POST" if target == "logging" else "GET"
        try:
            said = await unit.proxy.admin(method, f"/{target}{query}")
        except unix_http.HttpError as error:
            return answer(503, {"code": "WFT-1609", "message": str(error), "remedy": "See weft logs --proxy."})
        kind = dict(said.headers).get(b"content-type", b"text/plain").decode("latin-1")
        return Response(said.body, status_code=said.status, media_type=kind)

    async def upgrade(self, request: Request) -> Response:
        name = request.path_params["name"]
        unit = self._supervisor.find(name)
        if unit is None or unit.proxy is None:
            return unknown(name, self._supervisor)
        try:
            await unit.proxy.upgrade()
        except UpgradeError as error:
            return answer(503, {"code": "WFT-1610", "message": str(error), "remedy": "See weft logs --proxy."})
        return answer(200, {"name": name, "pid": unit.proxy.child.pid})

    async def end(self, _request: Request) -> Response:
        self._supervisor.end()
        return answer(202, {"done": "stopping"})


def _levels_only(request: Request) -> bool:
    """Whether a ``logging`` request sets nothing but known levels."""
    return all(value in LEVELS and re.fullmatch(r"[a-z0-9_]+", key) for key, value in request.query_params.items())


async def _content(path: Path, start: int, *, follow: bool) -> AsyncIterator[bytes]:
    """A log from ``start``; with ``follow`` what is added, also after the file was cut."""
    at = start
    while True:
        try:
            with path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < at:
                    at = 0
                file.seek(at)
                while data := file.read(1 << 16):
                    at += len(data)
                    yield data
        except FileNotFoundError:
            pass
        if not follow:
            return
        await anyio.sleep(POLL_SECONDS)


class SameUser(H11Protocol):
    """Hangs up on peers of another user."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio's own is wider
        peer = transport.get_extra_info("socket")
        if peer.family == socket.AF_UNIX and private.peer(peer).uid not in (os.geteuid(), 0):
            transport.close()
            return
        super().connection_made(transport)


class _Server(uvicorn.Server):
    """Signals belong to the agent."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(supervisor: Supervisor, path: Path, names: Path) -> None:
    """Serve until cancelled. ``names`` is the resolver's file (``edges.known``)."""
    config = uvicorn.Config(
        Api(supervisor, names).application(),
        http=SameUser,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    with private.listen(path) as listener:
        await server.serve(sockets=[listener])
