"""A control plane small enough to read, for tests of the agent: the real stages and the real streams, no store.

``python -m tests.envoy.little_control RUNTIME FILE...`` serves control.sock and xds.sock; the files are read again when one
of them changes. It runs as a process of its own so that tests can kill it, and as the user that the agent runs as.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.support.little_authority import LittleAuthority
from weft.agent.control import Names
from weft.api.decode import decode
from weft.api.document import read
from weft.control.engine import names_of
from weft.dialects.compile import compile_world
from weft.dialects.values import Input
from weft.envoy.build import build
from weft.identity.wire import HostTrust, JwtRequest, SvidRequests, TrustLine
from weft.latest import Latest
from weft.memo import Memo
from weft.model.mesh import Placements
from weft.model.service import HostReport
from weft.model.viewing import view
from weft.private import listen
from weft.xds.fleet import Fleet
from weft.xds.protocol import SEND_ORDER
from weft.xds.server import serve
from weft.xds.wire import encode_response, varint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


class LittleControl:
    def __init__(self, runtime: Path, files: list[Path]) -> None:
        self.runtime = runtime
        self.files = files
        self.fleet = Fleet(time.monotonic)
        self.hosts: dict[str, HostReport] = {}
        self.authority = LittleAuthority(time.time, kept=runtime / "authority.json")
        self.held: dict[str, HostTrust] = {}
        self.placements = Latest(Placements())
        self.names = Latest(Names())
        self.dirty: Latest[None] = Latest(None)
        self._memo = Memo()

    def settle(self) -> None:
        documents = [document for path in self.files for document in read(path.read_bytes(), str(path)).documents]
        decoded = tuple(decode(document) for document in documents)
        compiled = compile_world(Input(objects=decoded, hosts=tuple(self.hosts.values())), self._memo)
        for problem in (*(one for each in decoded for one in each.problems), *compiled.problems):
            print(problem, file=sys.stderr, flush=True)  # noqa: T201 - its log
        mesh = compiled.mesh
        if mesh.placements != self.placements.value:
            self.placements.set(mesh.placements)
        said = names_of(mesh)
        names = Names(dict(said.services), dict(said.hosts), said.outbound_traffic)
        if names != self.names.value:
            self.names.set(names)
        for node in self.fleet.nodes():
            demand = self.fleet.demand(node)
            seen = view(mesh, node, demand, self._memo) if demand is not None else None
            if seen is not None and demand is not None:
                self.fleet.offer(node, build(seen, self._memo).resources, demand, self.dirty.serial)
        self._memo.turn()

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            self.settle()
            await group.start(serve, self.fleet, self.runtime / "xds.sock")
            group.start_soon(self._api)
            group.start_soon(self._demands)
            group.start_soon(self._watch_files)
            serial = -1
            while True:
                serial, _ = await self.dirty.newer_than(serial)
                self.settle()

    async def _demands(self) -> None:
        serial = -1
        while True:
            serial, _ = await self.fleet.demands.newer_than(serial)
            self.fleet.take_changes()
            self.dirty.set(None)

    async def _watch_files(self) -> None:
        before = [path.read_bytes() for path in self.files]
        while True:
            await anyio.sleep(0.05)
            if (now := [path.read_bytes() for path in self.files]) != before:
                before = now
                self.dirty.set(None)

    async def _api(self) -> None:
        routes = [
            Route("/weft/v1/hosts/{host}", self._put, methods=["PUT"]),
            Route("/weft/v1/hosts", self._hosts),
            Route("/weft/v1/placements", lambda _: _lines(self.placements)),
            Route("/weft/v1/names", lambda _: _lines(self.names)),
            Route("/weft/v1/proxies/{node:path}/held", self._held),
            Route("/weft/v1/trust", lambda _: _lines(self.authority.line)),
            Route("/weft/v1/svids", self._svids, methods=["POST"]),
            Route("/weft/v1/jwt-svids", self._token, methods=["POST"]),
            Route("/weft/v1/hosts/{host}/trust", self._put_trust, methods=["PUT"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off", ws="none")
        with listen(self.runtime / "control.sock") as listener:
            await uvicorn.Server(config).serve(sockets=[listener])
        os._exit(0)

    async def _put(self, request: Request) -> Response:
        report = msgspec.json.decode(await request.body(), type=HostReport)
        if self.hosts.get(report.host) != report:
            self.hosts[report.host] = report
            self.dirty.set(None)
        return Response(status_code=204)

    async def _svids(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=SvidRequests)
        return Response(msgspec.json.encode(self.authority.sign(asked.requests)), media_type="application/json")

    async def _token(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=JwtRequest)
        return Response(msgspec.json.encode(self.authority.token(asked)), media_type="application/json")

    async def _put_trust(self, request: Request) -> Response:
        self.held[request.path_params["host"]] = msgspec.json.decode(await request.body(), type=HostTrust)
        return Response(status_code=204)

    async def _hosts(self, _request: Request) -> Response:
        return Response(msgspec.json.encode(list(self.hosts.values())), media_type="application/json")

    async def _held(self, request: Request) -> Response:
        found = self.fleet.held(request.path_params["node"])
        if found is None:
            return Response(status_code=404)
        parts = []
        for url in SEND_ORDER:
            response = encode_response(url, "", [one.wire for one in found.get(url, ()) if one.wire], ())
            parts += [varint(len(response)), response]
        return Response(b"".join(parts))


def _lines(cell: Latest[Placements] | Latest[Names] | Latest[TrustLine]) -> StreamingResponse:
    async def content() -> AsyncIterator[bytes]:
        serial = -1
        while True:
            serial, value = await cell.newer_than(serial)
            yield msgspec.json.encode(value) + b"\n"

    return StreamingResponse(content(), media_type="application/json")


if __name__ == "__main__":
    runtime = Path(sys.argv[1])
    (runtime / "xds.sock").unlink(missing_ok=True)
    anyio.run(LittleControl(runtime, [Path(name) for name in sys.argv[2:]]).run)
