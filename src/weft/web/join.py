"""A host that joins: what strangers may ask of the door, and the one answer that makes a host of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.errors import Problem
from weft.identity import join, possession, x509
from weft.identity.possession import Proof
from weft.identity.problems import problem
from weft.identity.wire import Bundle, CsrRequest, SvidAnswer
from weft.names import host_node, host_of
from weft.sources.audit import Kind, Outcome
from weft.web import answers
from weft.web.access import caller_of
from weft.web.answers import Refused
from weft.web.trust import decoded, service

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from weft.identity.service import TrustService
    from weft.web.context import Context

MAX_BODY: Final = 64 * 1024


class Offer(msgspec.Struct, frozen=True):
    """``GET``: what is public anyway. Whoever reads it believes only the root that its token names."""

    domain: str
    x509: tuple[bytes, ...]


class JoinRequest(msgspec.Struct, frozen=True):
    """``csr`` is DER; only its public key is used. Either a ``token``, or a ``proof`` that the host has a certificate."""

    host: str
    csr: bytes
    token: str = ""
    proof: Proof | None = None


class JoinAnswer(msgspec.Struct, frozen=True):
    domain: str
    svid: SvidAnswer
    bundle: Bundle


async def offer(request: Request, context: Context) -> Response:
    own = service(request, context).bundles()[0]
    return answers.json(Offer(own.trust_domain, own.x509))


async def redeem(request: Request, context: Context) -> Response:
    """The SVID of a host, for a token or a certificate that is good for it. Exactly one request uses an invitation up.

    Whoever has neither is told nothing else, and nothing that costs is done for him. What can be wrong beside is looked at
    before the invitation is used up, so that a mistake costs none.
    """
    trust = service(request, context)
    asked = await decoded(request, JoinRequest, MAX_BODY)
    _invited(request, context, asked)
    key = x509.public_key(asked.csr, "csr")
    found = key if isinstance(key, Problem) else None
    found = found or join.unfit(asked.host, trust.host, known(trust, context))
    if found is not None:
        raise _refused(request, context, 400, asked.host, found)
    if trust.mesh() is None:
        raise context.not_ready()
    await context.audit.ready()
    _use_up(request, context, asked)
    node = host_node(asked.host)
    [svid] = await trust.sign(asked.host, (CsrRequest(node, asked.csr),), local=False)
    if svid.problem is not None:
        raise _refused(request, context, 403, asked.host, svid.problem)
    where = caller_of(request).where
    by = "certificate" if asked.proof else "token"
    what = f"join of host {asked.host}"
    await context.audit.record(Kind.JOIN, svid.spiffe_id, what, Outcome.DONE, where=where, by=by)
    return answers.json(JoinAnswer(trust.domain, svid, trust.bundles()[0]))


def _invited(request: Request, context: Context, asked: JoinRequest) -> None:
    """Raises ``Refused`` for whoever has no invitation that is good now."""
    if asked.proof is None:
        if found := context.join_tokens.wrong(asked.token, asked.host, context.now()):
            raise _refused(request, context, 403, asked.host, found)
        return
    if asked.token:
        both = problem("WFT-1866", "there is a token and a proof", "Send one of the two", "proof")
        raise _refused(request, context, 400, asked.host, both)
    if why := _unproven(context, asked, asked.proof):
        raise _not_by_this(request, context, asked, why)


def _use_up(request: Request, context: Context, asked: JoinRequest) -> None:
    """Uses the invitation up, or raises ``Refused``. Nothing here waits: what is looked at is what is used."""
    if asked.proof is None:
        if found := context.join_tokens.redeem(asked.token, asked.host, context.now()):
            raise _refused(request, context, 403, asked.host, found)
    elif why := _unproven(context, asked, asked.proof, use=True):
        raise _not_by_this(request, context, asked, why)


def _not_by_this(request: Request, context: Context, asked: JoinRequest, why: str) -> Refused:
    remedy = "weft audit, where control runs, says why; then: weft token create --join HOST --ca FILE"
    found = problem("WFT-1866", "control lets no host of this name join by this certificate", remedy, "proof")
    return _refused(request, context, 403, asked.host, found, why)


def _unproven(context: Context, asked: JoinRequest, proof: Proof, *, use: bool = False) -> str:
    open_one = context.join_tokens.invited(asked.host, context.now())
    if open_one is None:
        return "nobody invited it by a certificate, or it has joined, or its time is over"
    path, invitation = open_one
    why = possession.wrong(invitation, asked.host, asked.csr, proof, context.now())
    if why or not use:
        return why
    return "" if context.join_tokens.use_up(path) else "somebody else has just used the invitation"


def known(trust: TrustService, context: Context) -> tuple[str, ...]:
    """The names of the hosts that reported something, or were given an SVID and have not come to that yet."""
    signed = [host for _, node in trust.issued.nodes() if (host := host_of(node))]
    return (*[each.report.host for each in context.registry.hosts], *sorted(signed))


def _refused(request: Request, context: Context, status: int, host: str, found: Problem, why: str = "") -> Refused:
    """``why`` is for the audit log alone."""
    caller = caller_of(request)
    what = f"join of host {host[:80]!r}"
    detail = {"code": found.code} | ({"why": why} if why else {})
    context.audit.note(Kind.JOIN, caller.name, what, Outcome.REFUSED, where=caller.where, **detail)
    return Refused(status, found)
