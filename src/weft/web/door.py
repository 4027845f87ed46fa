"""Who asks the API by the door for other hosts: the agent of a joined host by its SVID, or a person by a token.

Only the door's Envoy reaches this socket, and it writes ``x-forwarded-client-cert`` anew on every request. An SVID that is not
a host's has no business with the API, whatever it shows beside it: a workload's identity is for the mesh.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel
from starlette.requests import Request

from weft.identity import xfcc
from weft.names import host_spiffe_id
from weft.sources.tokens import Role
from weft.web.access import CALLER, Caller, bearer

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from weft.model.trust import Trust
    from weft.sources.tokens import Tokens

HEADER: Final = "x-forwarded-client-cert"


class Door:
    """The application for those who come by the door. ``own`` is the name of the host that runs control."""

    def __init__(self, inside: ASGIApp, tokens: Tokens, trust: Callable[[], Trust], own: str) -> None:
        self._inside, self._tokens, self._trust, self._own = inside, tokens, trust, own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = self._caller(Request(scope))
        with anyio.CancelScope() as answering:

            async def unless_banned(message: Message) -> None:
                """A watch that was let in goes on for an hour: a ban ends it before it says anything more."""
                if caller.host and caller.name in self._trust().banned:
                    answering.cancel()
                    await anyio.lowlevel.checkpoint()
                await send(message)

            await self._inside({**scope, CALLER: caller}, receive, unless_banned)

    def _caller(self, request: Request) -> Caller:
        where = request.headers.get("x-envoy-external-address", "door")[:64]
        shown = request.headers.getlist(HEADER)
        if not shown:
            return bearer(request, self._tokens, where)
        peer = xfcc.peer(shown[0]) if len(shown) == 1 else ""
        trust = self._trust()
        prefix = host_spiffe_id(trust.domain, "")
        host = peer.removeprefix(prefix) if peer.startswith(prefix) else ""
        if not host or "/" in host or host == self._own or peer in trust.banned:
            return Caller(Role.ANONYMOUS, peer or "stranger", where)
        return Caller(Role.HOST, peer, where, host)
