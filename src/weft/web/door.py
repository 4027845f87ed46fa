"""Who asks the API by the door for other hosts: the agent of a joined host by its SVID, or a person by a token.

Only the door's Envoy reaches this socket, and it writes ``x-forwarded-client-cert`` anew on every request. An SVID that is not
a host's has no business with the API, whatever it shows beside it: a workload's identity is for the mesh.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from starlette.requests import Request

from weft.names import host_spiffe_id
from weft.sources.tokens import Role
from weft.web import answers
from weft.web.access import CALLER, Caller, bearer, while_it_holds
from weft.web.answers import Refused, problem
from weft.web.context import place

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from weft.model.trust import Trust
    from weft.sources.tokens import Tokens

HEADER: Final = "x-forwarded-client-cert"
AT_ONCE: Final = 64
"""Requests of one host, or with one token, at a time, watches included. An agent has three watches and asks for the rest one by
one; control has room for some 2,000, and nobody shall have it to himself.
"""


class Door:
    """The application for those who come by the door. ``peer`` says who a header stands for now (``identity.standing``), ``own``
    is the name of the host that runs control.
    """

    def __init__(
        self, inside: ASGIApp, tokens: Tokens, trust: Callable[[], Trust], peer: Callable[[str], str], own: str
    ) -> None:
        self._inside, self._tokens, self._trust, self._peer, self._own = inside, tokens, trust, peer, own
        self._asking: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        caller, holds = self._caller(request)
        who = caller.name if caller.role is not Role.ANONYMOUS else ""
        if who and self._asking[who] >= AT_ONCE:
            await answers.refusal(_too_many(request, caller))(scope, receive, send)
            return
        self._asking[who] += 1
        try:
            await while_it_holds(self._inside, {**scope, CALLER: caller}, receive, send, holds)
        finally:
            self._asking[who] -= 1
            if not self._asking[who]:
                del self._asking[who]

    def _caller(self, request: Request) -> tuple[Caller, Callable[[], bool]]:
        """Who asks, and whether that is so still."""
        where = request.headers.get("x-envoy-external-address", "door")[:64]
        shown = request.headers.getlist(HEADER)
        if not shown:
            return bearer(request, self._tokens, where)
        header = shown[0] if len(shown) == 1 else ""
        peer = self._peer(header)
        prefix = host_spiffe_id(self._trust().domain, "")
        host = peer.removeprefix(prefix) if peer.startswith(prefix) else ""
        if not host or "/" in host or host == self._own or peer in self._trust().banned:
            return Caller(Role.ANONYMOUS, peer or "stranger", where), lambda: True

        def holds() -> bool:
            return self._peer(header) == peer and peer not in self._trust().banned

        return Caller(Role.HOST, peer, where, host), holds


def _too_many(request: Request, caller: Caller) -> Refused:
    message = f"{caller.name} has {AT_ONCE} requests open"
    return Refused(429, problem("WFT-1265", message, "End watches that nobody needs, and ask again", place(request)))
