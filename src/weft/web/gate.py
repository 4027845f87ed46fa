"""Who may use the API over TCP: whoever has the token, and asks for this machine by its own name.

The check of the Host header is against DNS rebinding: a page in a browser can make its own name resolve to 127.0.0.1,
but cannot make the browser say another name than its own. Over the unix socket the file's mode decides, and no browser
gets there.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from starlette.requests import Request

from weft.web import answers
from weft.web.answers import Refused, problem
from weft.web.context import place

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})
"""What probes ask without a token."""


class Gate:
    """The application behind a token and a check of the Host header."""

    def __init__(self, inside: ASGIApp, token: str) -> None:
        self._inside = inside
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        if refused := self._refuses(request):
            await answers.refusal(refused)(scope, receive, send)
            return
        await self._inside(scope, receive, send)

    def _refuses(self, request: Request) -> Refused | None:
        host = request.headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name.lower() not in LOCAL_NAMES:
            message, remedy = f"the Host header is {host[:80]!r}", "Ask for localhost or 127.0.0.1"
            return Refused(403, problem("WFT-1513", message, remedy, place(request)))
        if request.url.path in OPEN_PATHS:
            return None
        scheme, _, said = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and secrets.compare_digest(said.strip().encode(), self._token):
            return None
        message, remedy = (
            "the request has no valid token",
            "Send the content of api-token as bearer token (weft: WEFT_TOKEN)",
        )
        return Refused(401, problem("WFT-1513", message, remedy, place(request)))
