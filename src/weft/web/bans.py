"""Bans over HTTP: who is banned, why and by whom; to ban and to lift a ban is an admin's.

A ban is of an identity, so it holds for everything that has it: every replica, and every other workload with the same service
account. It takes effect in three places: the authority signs nothing for it, every proxy denies it on new connections and
requests, and the connections that it has are cut (docs/guides/policy.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.explain import subjects
from weft.explain.subjects import SPIFFE
from weft.names import control_spiffe_id
from weft.sources.audit import Kind, Outcome
from weft.sources.bans import MAX_BANS
from weft.sources.lock import UnusableError
from weft.web import answers
from weft.web.access import caller_of
from weft.web.answers import Refused, problem
from weft.web.context import Context, place
from weft.web.trust import decoded

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from weft.sources.bans import Ban

MAX_BODY: Final = 16 * 1024
MAX_REASON: Final = 500
MAX_ID: Final = 2048
"""Source: SPIFFE ID, section 2.3."""


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``who`` is a SPIFFE ID, or a workload, a service, a service account or a Gateway by its name."""

    who: str
    namespace: str = "default"
    reason: str = ""


async def listed(request: Request, context: Context) -> Response:  # noqa: ARG001 - the form of a handler
    return answers.json({"items": [_shown(context, ban) for ban in context.bans.latest.value]})


def _shown(context: Context, ban: Ban) -> dict[str, object]:
    """With the workloads that have the identity now."""
    mesh = context.engine.mesh()
    found = subjects.find(mesh, ban.spiffe_id, "") if mesh is not None else None
    workloads = dict.fromkeys(subjects.shown_name(each) for each in found.workloads) if found else ()
    return {**msgspec.to_builtins(ban), "workloads": list(workloads)}


async def ban(request: Request, context: Context) -> Response:
    """``banned`` are the identities that were not banned before, ``items`` all that the name means."""
    wanted = await decoded(request, Wanted, MAX_BODY)
    if len(wanted.reason) > MAX_REASON or (wanted.reason and not wanted.reason.isprintable()):
        message, remedy = "the reason is not a line of text", f"Use up to {MAX_REASON} printable characters"
        raise Refused(400, problem("WFT-1512", message, remedy, place(request), "reason"))
    identities = _identities(request, context, wanted)
    mesh = context.engine.mesh()
    if mesh is not None and control_spiffe_id(mesh.trust.domain) in identities:
        message = "that is the control plane's own identity, and without it no other host hears what is banned"
        raise Refused(
            409, problem("WFT-1512", message, "Replace a stolen key: weft trust rotate --force", place(request))
        )
    if not context.bans.room(len(identities)):
        message = f"{MAX_BANS:,} identities are banned already, and every proxy holds them all"
        raise Refused(409, problem("WFT-1512", message, "Lift some first: weft unban", place(request)))
    caller = caller_of(request)
    try:
        fresh = await context.bans.add(identities, wanted.reason, caller.name)
    except UnusableError as error:
        raise Refused(507, error.problem) from error
    await _spread(request, context, "ban", fresh, wanted.reason)
    items = [_shown(context, each) for each in context.bans.latest.value if each.spiffe_id in identities]
    return answers.json({"banned": fresh, "items": items}, 201 if fresh else 200)


async def unban(request: Request, context: Context) -> Response:
    """``?who=`` and ``?namespace=``, as for a ban. What has the identity gets an SVID again when it next asks."""
    query = request.query_params
    wanted = Wanted(query.get("who", ""), query.get("namespace", "default"))
    identities = _identities(request, context, wanted)
    try:
        gone = await context.bans.remove(identities)
    except UnusableError as error:
        raise Refused(507, error.problem) from error
    if not gone:
        message, remedy = f"{wanted.who[:200]} is not banned", "List who is: weft ban"
        raise Refused(404, problem("WFT-1508", message, remedy, place(request)))
    await _spread(request, context, "lift the ban of", gone, "")
    return answers.json({"lifted": gone})


async def _spread(request: Request, context: Context, what: str, identities: tuple[str, ...], reason: str) -> None:
    """Tell the authority, which tells every proxy; then write it down. A ban holds even where that fails."""
    if context.trust is not None:
        context.trust.set_banned(context.bans.identities)
    caller = caller_of(request)
    detail = {"reason": reason} if reason else {}
    try:
        for each in identities:
            await context.audit.record(
                Kind.BAN, caller.name, f"{what} {each}", Outcome.DONE, where=caller.where, **detail
            )
    except UnusableError as error:
        raise Refused(507, error.problem) from error


def _identities(request: Request, context: Context, wanted: Wanted) -> tuple[str, ...]:
    """The identities that a name means. One that nothing has now can be banned by its SPIFFE ID only."""
    if wanted.who.startswith(SPIFFE):
        domain, _, path = wanted.who.removeprefix(SPIFFE).partition("/")
        if (
            not domain
            or not path
            or len(wanted.who) > MAX_ID
            or not wanted.who.isascii()
            or not wanted.who.isprintable()
        ):
            message, remedy = f"{wanted.who[:80]!r} is no SPIFFE ID", "Write spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT"
            raise Refused(400, problem("WFT-1512", message, remedy, place(request), "who"))
        return (wanted.who,)
    mesh = context.engine.mesh()
    if mesh is None:
        raise context.not_ready()
    found = subjects.find(mesh, wanted.who, wanted.namespace) if wanted.who else None
    if found is None:
        raise unknown(request, context, wanted.who, wanted.namespace)
    return found.identities


def unknown(request: Request, context: Context, who: str, namespace: str) -> Refused:
    """404 with names that are near."""
    mesh = context.engine.mesh()
    near = subjects.near(mesh, who) if mesh is not None else ()
    remedy = f"Near it are {', '.join(near)}" if near else "Name a workload, a service or a SPIFFE ID; see: weft ps"
    message = f"nothing in the mesh has the name {who[:120]!r} in namespace {namespace[:120]}"
    return Refused(404, problem("WFT-1883", message, remedy, place(request)))
