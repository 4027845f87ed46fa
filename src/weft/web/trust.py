"""What agents ask of the authority (SVIDs, tokens, bundles), what they report, and what operators do with it.

Who asks is the door's word (``access.Caller``): the agent of a joined host by its SVID, or on control's own socket the agent
of the host that runs control.
"""

from __future__ import annotations

from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from starlette.responses import Response

from weft.errors import Problem
from weft.identity import expiry
from weft.identity.bundle import document
from weft.identity.problems import TrustError
from weft.identity.rotation import Word
from weft.identity.state import Federated, Profile
from weft.identity.wire import (
    FederationRequest,
    HostTrust,
    JwtRequest,
    RefusedHere,
    StepRequest,
    SvidAnswers,
    SvidRequests,
)
from weft.sources.audit import Kind, Outcome
from weft.web import answers, mesh
from weft.web.access import caller_of
from weft.web.answers import Refused, problem
from weft.web.context import body, place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.requests import Request

    from weft.identity.service import TrustService
    from weft.identity.state import Authority
    from weft.web.context import Context

T = TypeVar("T")

FORGED: Final = frozenset({"WFT-1804", "WFT-1805", "WFT-1806", "WFT-1807"})
"""Refusals that the audit log has: a CSR that is none, an identity of somebody else or of nobody, one that is banned."""
MAX_REQUESTS: Final = 1_000
"""CSRs in one request: half a second of signing."""
MAX_BODY: Final = 8 * 1024 * 1024
MAX_STEP: Final = 1024 * 1024
MAX_REFUSALS: Final = 128 * 1024
MAX_REFUSED: Final = 100


def service(request: Request, context: Context) -> TrustService:
    """The authority; 503 where there is none."""
    if context.trust is None:
        message = "this control plane has no authority"
        raise Refused(503, problem("WFT-1810", message, "Ask the one that has", place(request)))
    found: TrustService = context.trust
    return found


def asking(request: Request, trust: TrustService) -> tuple[str, bool]:
    """(the host that asks, whether it is the one that runs control: its agent never comes by the door, whatever name it has)."""
    joined = caller_of(request).host
    return joined or trust.host, not joined


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
    found = await trust.sign(host, asked.requests, local=local)
    for each in found:
        if each.problem is not None and each.problem.code in FORGED:
            note_refused(request, context, each.node, each.problem)
    return answers.json(SvidAnswers(found))


def note_refused(request: Request, context: Context, node: str, found: Problem) -> None:
    """Into the audit log: somebody asked to be somebody else, or is banned."""
    caller = caller_of(request)
    what = f"SVID of {node[:200]}"
    context.audit.note(Kind.AUTHORITY, caller.name, what, Outcome.REFUSED, where=caller.where, code=found.code)


async def jwt_svids(request: Request, context: Context) -> Response:
    """A token for what one node is."""
    trust = service(request, context)
    asked = await decoded(request, JwtRequest)
    host, local = asking(request, trust)
    with refusing():
        found = await trust.token(host, asked.node, asked.audience, local=local)
    if isinstance(found, Problem):
        if found.code in FORGED:
            note_refused(request, context, asked.node, found)
        raise Refused(_STATUS.get(found.code, 403), found)
    return answers.json(found)


async def watch(request: Request, context: Context) -> Response:
    """Bundles, bans, and which authority signs: now, or with ``?watch=true`` one line for each change."""
    trust = service(request, context)
    return mesh.newest(request, context, lambda: trust.line)


async def put_host(request: Request, context: Context) -> Response:
    """What the proxies of a host hold, whole."""
    trust, report = service(request, context), await decoded(request, HostTrust)
    _, local = asking(request, trust)
    with refusing():
        trust.report(request.path_params["host"], report, local=local)
    return Response(status_code=204)


async def refusals(request: Request, context: Context) -> Response:
    """Into the audit log: whom the agent of a host gave no secret or identity. The host is known, the rest is its word."""
    host, asked = request.path_params["host"], await decoded(request, RefusedHere, MAX_REFUSALS)
    for each in asked.refusals[:MAX_REFUSED]:
        times = {"times": str(each.times)} if each.times != 1 else {}
        context.audit.note(Kind.REFUSAL, f"host {host}", each.what, Outcome.REFUSED, where=each.who, **times)
    return Response(status_code=204)


async def identities(request: Request, context: Context) -> Response:
    """Every identity in use: who holds it, by which authority, until when."""
    trust = service(request, context)
    items = [msgspec.to_builtins(each) for each in trust.identities()]
    return answers.json({"items": items, "problems": answers.listed(trust.problems())})


async def authorities(request: Request, context: Context) -> Response:
    """The states of the authority, how long each lives, the rotation that goes on and who holds it up."""
    trust = service(request, context)
    found, now = trust.journal, trust.seconds()
    rotation = found.rotation
    with refusing():
        blockers = trust.steps.blockers()
    return answers.json(
        {
            "domain": found.trust_domain,
            "sequence": found.sequence,
            "authorities": [_shown(each, now) for each in found.authorities],
            "rotation": msgspec.to_builtins(rotation) if rotation else None,
            "blockers": [msgspec.to_builtins(each) for each in blockers],
            "problems": answers.listed(trust.problems()),
            "events": [msgspec.to_builtins(each) for each in found.events],
        }
    )


def _shown(authority: Authority, now: int) -> dict[str, Any]:
    lives = [
        {**msgspec.to_builtins(life), "used": round(life.used(now), 4)}
        for life in (expiry.lives(authority) if authority.trusted else ())
    ]
    return {
        "id": authority.id,
        "state": authority.state.value,
        "created": authority.created,
        "plugged": authority.plugged,
        "published": authority.published,
        "certificates": lives,
    }


async def step(request: Request, context: Context) -> Response:
    """Prepare, activate, taint, revoke or rotate."""
    trust, name = service(request, context), request.path_params["step"]
    asked = await decoded(request, StepRequest, MAX_STEP)
    word = Word(who=caller_of(request).name, force=asked.force, ignored=asked.ignore)
    certificates, key = asked.certificates.encode(), asked.key.encode()
    steps = trust.steps
    with refusing():
        if name == "prepare":
            return answers.json({"authority": await steps.prepare(word, certificates, key)})
        if name == "rotate":
            return answers.json(msgspec.to_builtins(await steps.rotate(word, certificates, key)))
        taken = {"activate": steps.activate, "taint": steps.taint, "revoke": steps.revoke}.get(name)
        if taken is None:
            message = f"there is no step {name[:40]!r} of an authority"
            remedy = "Take prepare, activate, taint, revoke or rotate"
            raise Refused(404, problem("WFT-1514", message, remedy, place(request)))
        return answers.json({"authority": await taken(asked.authority, word)})


async def federation(request: Request, context: Context) -> Response:
    """Every trust domain whose bundle is held besides ours."""
    trust = service(request, context)
    items = []
    for each in trust.journal.federated:
        bundle, trouble = trust.federation.bundle(each), trust.federation.problem(each.trust_domain)
        items.append(
            {
                "trust_domain": each.trust_domain,
                "profile": each.profile.value,
                "url": each.url,
                "spiffe_id": each.spiffe_id,
                "fetched": each.fetched,
                "sequence": bundle.sequence if bundle else 0,
                "authorities": len(bundle.x509) if bundle else 0,
                "problems": answers.listed((trouble,) if trouble else ()),
            }
        )
    return answers.json({"items": items})


async def federate(request: Request, context: Context) -> Response:
    """Trust another trust domain; what was said of it before is replaced."""
    trust = service(request, context)
    asked = await decoded(request, FederationRequest, MAX_STEP)
    try:
        profile = Profile(asked.profile)
    except ValueError as error:
        remedy = f"Use {', '.join(each.value for each in Profile)}"
        message = f"there is no profile {asked.profile[:40]!r}"
        raise Refused(400, problem("WFT-1512", message, remedy, place(request), "profile")) from error
    wanted = Federated(
        trust_domain=asked.trust_domain,
        profile=profile,
        document=asked.document.encode(),
        url=asked.url,
        spiffe_id=asked.spiffe_id,
        ca=asked.ca.encode(),
        private=asked.private,
    )
    with refusing():
        await trust.federation.add(wanted, caller_of(request).name)
    return Response(status_code=204)


async def unfederate(request: Request, context: Context) -> Response:
    trust = service(request, context)
    with refusing():
        await trust.federation.remove(request.path_params["domain"], caller_of(request).name)
    return Response(status_code=204)


async def bundle(request: Request, context: Context) -> Response:
    """Our own bundle as a SPIFFE bundle document: what others federate with."""
    own = service(request, context).bundles()[0]
    return Response(document(own), media_type=answers.JSON)


@contextmanager
def refusing() -> Iterator[None]:
    """What the authority refuses, as an answer."""
    try:
        yield
    except TrustError as error:
        raise Refused(_STATUS.get(error.problems[0].code, 422), *error.problems) from error


_STATUS: Final[Mapping[str, int]] = MappingProxyType(
    {"WFT-1801": 507, "WFT-1809": 409, "WFT-1810": 503, "WFT-1811": 409}
)
"""What the first problem makes of an answer."""
