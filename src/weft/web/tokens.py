"""API tokens over HTTP, for admins: made, listed without their secrets, and revoked."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.responses import Response

from weft.errors import Problem, nearest
from weft.identity import join, possession
from weft.identity.problems import TrustError
from weft.sources.audit import Kind, Outcome
from weft.sources.lock import UnusableError
from weft.sources.tokens import GRANTED, Role, Token
from weft.web import answers
from weft.web.access import caller_of
from weft.web.answers import Refused, problem
from weft.web.context import MAX_NAME, Context, flag, place
from weft.web.join import known
from weft.web.trust import decoded, service

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_BODY: Final = 16 * 1024
MAX_SECONDS: Final = 10 * 365 * 86400
MAX_INVITED: Final = 86400
"""Seconds that a host has to join by its certificate, at most."""


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token for the API, by ``name`` and ``role``; ``seconds`` 0: it does not expire. Or one for a host that shall ``join``;
    with a ``ca`` (PEM) not a token but an invitation to one that has a certificate of it, for ``seconds`` (0: ten minutes).
    """

    name: str = ""
    role: str = ""
    seconds: int = 0
    join: str = ""
    ca: str = ""


async def listed(request: Request, context: Context) -> Response:  # noqa: ARG001 - the form of a handler
    """Those for the API in ``items``, those for hosts that have not joined yet in ``joining``."""
    joining = [
        {"host": each.host, "expires": each.expires, "by": each.by}
        for each in context.join_tokens.pending(context.now())
    ]
    return answers.json({"items": [_shown(context, token) for token in context.tokens.items], "joining": joining})


def _shown(context: Context, token: Token) -> dict[str, object]:
    return {
        "name": token.name,
        "role": token.role.value,
        "created": token.created,
        "expires": token.expires,
        "expired": context.tokens.expired(token),
        "by": token.by,
    }


async def create(request: Request, context: Context) -> Response:
    """201 with the secret, which nobody can ask for again."""
    wanted = await decoded(request, Wanted, MAX_BODY)
    if wanted.join:
        return await _invite(request, context, wanted)
    role = _checked(request, context, wanted)
    caller = caller_of(request)
    try:
        token, secret = await context.tokens.create(wanted.name, role, wanted.seconds, caller.name)
        try:
            what = f"create token {token.name} with the role {role.value}"
            until = token.expires or "never"
            await context.audit.record(Kind.TOKEN, caller.name, what, Outcome.DONE, where=caller.where, expires=until)
        except UnusableError:
            await context.tokens.revoke(token.name)
            raise
    except UnusableError as error:
        raise Refused(507, error.problem) from error
    return answers.json(_shown(context, token) | {"token": secret}, 201)


async def _invite(request: Request, context: Context, wanted: Wanted) -> Response:
    """201 with a token that one host can use once, by its name; or with the root to which it proves that it has a certificate."""
    trust, caller = service(request, context), caller_of(request)
    invited = [each.host for each in context.join_tokens.pending(context.now())]
    if found := join.unfit(wanted.join, trust.host, (*known(trust, context), *invited)):
        raise Refused(400, found)
    ca = _authority(request, wanted)
    root, now = trust.journal.active.root, context.now()
    try:
        if ca:
            life = timedelta(seconds=wanted.seconds) if wanted.seconds else join.LIFE
            made, said = context.join_tokens.invite(wanted.join, ca, root, caller.name, now, life), {}
            what = f"invite host {made.host} by a certificate of CA {hashlib.sha256(ca).hexdigest()}"
        else:
            secret, made = context.join_tokens.create(wanted.join, root, caller.name, now)
            what, said = f"create a join token for host {made.host}", {"token": secret}
        try:
            await context.audit.record(Kind.TOKEN, caller.name, what, Outcome.DONE, where=caller.where)
        except UnusableError:
            context.join_tokens.withdraw(made.host)
            raise
    except UnusableError as error:
        raise Refused(507, error.problem) from error
    except TrustError as error:
        raise Refused(409, *error.problems) from error
    shown = {"host": made.host, "expires": made.expires, "by": made.by}
    return answers.json(shown | said | {"fingerprint": join.fingerprint(root).hex()}, 201)


def _authority(request: Request, wanted: Wanted) -> bytes:
    """The CA that a host's certificate shall be of (DER); nothing for a token."""
    if not wanted.ca:
        if wanted.seconds:
            message, remedy = "a join token lives ten minutes", "Leave seconds out"
            raise Refused(400, problem("WFT-1512", message, remedy, place(request), "seconds"))
        return b""
    if not 0 <= wanted.seconds <= MAX_INVITED:
        message = f"{wanted.seconds} s is not how long a host is invited"
        remedy = "Use 1 s to 24 h, or 0 for ten minutes"
        raise Refused(400, problem("WFT-1512", message, remedy, place(request), "seconds"))
    found = possession.authority(wanted.ca)
    if isinstance(found, Problem):
        raise Refused(400, found)
    return found


def _checked(request: Request, context: Context, wanted: Wanted) -> Role:
    def refused(field: str, message: str, remedy: str, code: int = 400) -> Refused:
        return Refused(code, problem("WFT-1512", message, remedy, place(request), field))

    role = next((each for each in GRANTED if each.value == wanted.role), None)
    if role is None:
        raise refused("role", f"{wanted.role[:40]!r} is no role", "Use viewer, editor or admin")
    if not wanted.name.strip() or not wanted.name.isprintable() or len(wanted.name) > MAX_NAME or "/" in wanted.name:
        remedy = f"Use up to {MAX_NAME} printable characters without a slash"
        raise refused("name", f"{wanted.name[:40]!r} is not the name of a token", remedy)
    if not 0 <= wanted.seconds <= MAX_SECONDS:
        raise refused(
            "seconds", f"{wanted.seconds} s is not how long a token lives", "Use 1 s to 10 years, or 0 for ever"
        )
    if context.tokens.taken(wanted.name):
        message, remedy = f"there is a token {wanted.name!r}", "Choose another name, or revoke that one first"
        raise Refused(409, problem("WFT-1507", message, remedy, place(request), "name"))
    if context.tokens.full:
        raise refused("name", f"there are {len(context.tokens.items):,} tokens", "Revoke some first", 409)
    return role


async def revoke(request: Request, context: Context) -> Response:
    """204; from then on nobody gets in with it. A watch that it opened goes on until it ends, an hour at most.
    ``?join=true``: the tokens of a host that has not joined yet.
    """
    name, caller = request.path_params["name"], caller_of(request)
    joining = flag(request, "join")
    try:
        if joining and not context.join_tokens.withdraw(name):
            remedy = "List them: weft token list"
            raise Refused(404, problem("WFT-1508", f"no host {name[:120]!r} is invited", remedy, place(request)))
        if not joining and not await context.tokens.revoke(name):
            near = nearest(name, [token.name for token in context.tokens.items])
            remedy = f"Near it are {', '.join(near)}" if near else "List them: weft token list"
            raise Refused(404, problem("WFT-1508", f"there is no token {name[:120]!r}", remedy, place(request)))
        await context.audit.record(
            Kind.TOKEN,
            caller.name,
            f"revoke the {'join tokens of host' if joining else 'token'} {name}",
            Outcome.DONE,
            where=caller.where,
        )
    except UnusableError as error:
        raise Refused(507, error.problem) from error
    return Response(status_code=204)
