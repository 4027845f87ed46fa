"""What agents ask of the authority: SVIDs for what they run, the bundles to trust; and what they report of both.

Who asks is the door's word (``access.Caller``): the agent of a joined host by its SVID, or on control's own socket the agent
of the host that runs control.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from starlette.responses import Response

from weft.identity.wire import HostTrust, SvidAnswers, SvidRequests
from weft.web import answers, mesh
from weft.web.access import caller_of
from weft.web.answers import Refused, problem
from weft.web.context import body, place

if TYPE_CHECKING:
    from starlette.requests import Request

    from weft.identity.service import TrustService
    from weft.web.context import Context

T = TypeVar("T")

MAX_REQUESTS: Final = 1_000
"""CSRs in one request: half a second of signing."""
MAX_BODY: Final = 8 * 1024 * 1024


def service(request: Request, context: Context) -> TrustService:
    """The authority; 503 where there is none."""
    if context.trust is None:
        message = "this control plane has no authority"
        raise Refused(503, problem("WFT-1810", message, "Ask the one that has", place(request)))
    found: TrustService = context.trust
    return found


def asking(request: Request, trust: TrustService) -> tuple[str, bool]:
    """(the host that asks, whether it is the one that runs control)."""
    host = caller_of(request).host or trust.host
    return host, host == trust.host


async def decoded(request: Request, shape: type[T], limit_bytes: int = MAX_BODY) -> T:
    """The body, or 400 with what is wrong with it."""
    try:
        return msgspec.json.decode(await body(request, limit_bytes), type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        remedy = "ARCHITECTURE.md has the shape"
        raise Refused(
            400, problem("WFT-1512", f"the body is not as expected: {error}", remedy, place(request))
        ) from error


async def svids(request: Request, context: Context) -> Response:
    """One answer for each CSR, in order; a refused one has a problem in its place."""
    trust = service(request, context)
    asked = await decoded(request, SvidRequests)
    if len(asked.requests) > MAX_REQUESTS:
        message = f"{len(asked.requests):,} CSRs in one request; {MAX_REQUESTS:,} are taken"
        raise Refused(413, problem("WFT-1511", message, "Send them in several requests", place(request)))
    host, local = asking(request, trust)
    return answers.json(SvidAnswers(await trust.sign(host, asked.requests, local=local)))


async def watch(request: Request, context: Context) -> Response:
    """Bundles, bans, and which authority signs: now, or with ``?watch=true`` one line for each change."""
    trust = service(request, context)
    return mesh.newest(request, context, lambda: trust.line)


async def put_host(request: Request, context: Context) -> Response:
    """What the proxies of a host hold, whole."""
    service(request, context).report(request.path_params["host"], await decoded(request, HostTrust))
    return Response(status_code=204)
