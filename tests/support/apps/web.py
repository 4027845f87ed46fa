"""An application for tests that understands all of HTTP/1.1 and WebSockets, by uvicorn: what real clients call.

Every path answers a JSON object with what arrived. ``/big/<bytes>`` answers so many bytes in chunks, ``/status/<number>``
that status, ``/events`` three server-sent events, ``/ws`` echoes WebSocket messages with the version before them.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

VERSION = os.environ.get("WEFT_VERSION", "")
CHUNK = b"x" * 16_384


async def said(request: Request) -> Response:
    digest, length = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        length += len(chunk)
    return JSONResponse(
        {
            "version": VERSION,
            "method": request.method,
            "path": request.url.path,
            "query": request.url.query,
            "host": request.headers.get("host"),
            "length": length,
            "sha256": digest.hexdigest(),
        },
        status_code=int(request.path_params.get("status", 200)),
    )


async def big(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        left = int(request.path_params["count"])
        while left > 0:
            yield CHUNK[:left]
            left -= len(CHUNK)

    return StreamingResponse(chunks(), media_type="application/octet-stream")


async def events(_request: Request) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(3):
            yield f"data: {number}\n\n".encode()

    return StreamingResponse(lines(), media_type="text/event-stream")


async def echo(socket: WebSocket) -> None:
    protocols = socket.scope["subprotocols"]
    await socket.accept(subprotocol=protocols[0] if protocols else None)
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if (data := message.get("bytes")) is not None:
            await socket.send_bytes(data)
        else:
            await socket.send_text(f"{VERSION} {message['text']}")


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
APP = Starlette(
    routes=[
        Route("/big/{count:int}", big),
        Route("/events", events),
        Route("/status/{status:int}", said, methods=METHODS),
        WebSocketRoute("/ws", echo),
        Route("/{path:path}", said, methods=METHODS),
    ]
)

if __name__ == "__main__":
    uvicorn.run(
        APP, host=os.environ.get("HOST", "0.0.0.0"), port=int(os.environ.get("PORT", "8080")), log_level="warning"
    )
