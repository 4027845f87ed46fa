"""The API over loopback TCP: the bearer token says who asks, and only requests for this machine by its own name come in.

The check of the Host header is against DNS rebinding: a page in a browser can make its own name resolve to 127.0.0.1,
but cannot make the browser say another name than its own. Over the unix socket the file's mode decides, and no browser
gets there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.requests import Request

from weft.sources.audit import Kind, Outcome
from weft.web import answers
from weft.web.access import CALLER, STRANGER, bearer, while_it_holds
from weft.web.answers import Refused, problem
from weft.web.context import place

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from weft.sources.audit import Audit
    from weft.sources.tokens import Tokens

LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Gate:
    """The application behind a check of the Host header; who asks is found by the token (``access``)."""

    def __init__(self, inside: ASGIApp, tokens: Tokens, audit: Audit) -> None:
        self._inside, self._tokens, self._audit = inside, tokens, audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        # The address without its port: a port is new for each connection, and equal refusals are counted together.
        where = request.client.host if request.client else ""
        host = request.headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name.lower() not in LOCAL_NAMES:
            message, remedy = f"the Host header is {host[:80]!r}", "Ask for localhost or 127.0.0.1"
            self._audit.note(Kind.REFUSAL, STRANGER.name, place(request), Outcome.REFUSED, where=where, host=host[:80])
            await answers.refusal(Refused(403, problem("WFT-1513", message, remedy, place(request))))(
                scope, receive, send
            )
            return
        caller, holds = bearer(request, self._tokens, where)
        await while_it_holds(self._inside, {**scope, CALLER: caller}, receive, send, holds)
