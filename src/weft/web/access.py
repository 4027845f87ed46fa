"""Who asks, and whether they may: one check in front of every handler, by one table.

Every path declares the least role that may use it (``Access``), and a path without one cannot be written down. What the
table does not know is closed to whoever is nobody. Three doors say who asks, each in its own way, and put a ``Caller`` into
the request's scope: the unix socket (``Local``, by the kernel's word), loopback TCP (``gate``, by token), and the door for
other hosts (``door``, by SVID or token). A request without a caller is a stranger's.

A refusal stands in the audit log, and so does every action of an administrator, before it is done and after.
"""

from __future__ import annotations

import enum
import pwd
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel
import msgspec
from starlette.requests import Request
from starlette.routing import Match

from weft.names import node_id
from weft.sources.audit import Kind, Outcome
from weft.sources.lock import UnusableError
from weft.sources.tokens import Role
from weft.web import answers
from weft.web.answers import Refused, problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.routing import Route
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from weft.sources.audit import Audit
    from weft.sources.registry import Registry
    from weft.sources.tokens import Tokens

CALLER: Final = "weft.caller"
"""Where the scope of a request has its ``Caller``."""

ROOT: Final = 0
_RANKS: Final = (Role.ANONYMOUS, Role.VIEWER, Role.EDITOR, Role.ADMIN)


class Caller(msgspec.Struct, frozen=True):
    """Who asks. ``name``: a user, ``token NAME`` or a SPIFFE ID; ``where``: the process or the address that is connected;
    ``host``: of a joined host's agent, its host; ``token``: by a token, so a person or what a person runs, and no agent.
    """

    role: Role
    name: str
    where: str = ""
    host: str = ""
    token: bool = False


STRANGER: Final = Caller(Role.ANONYMOUS, "stranger")


class Hosts(enum.Enum):
    """What of a path the agent of a joined host may use, with its own SVID."""

    NONE = "none"
    OWN = "own"
    """Where the path's ``{host}``, ``?host=`` or ``{node}`` is its own."""
    ALL = "all"
    """All of it; the handler gives each host what belongs to it."""


class Access(msgspec.Struct, frozen=True):
    """The least role of people, and what hosts may."""

    role: Role
    hosts: Hosts = Hosts.NONE

    def audited(self, caller: Caller) -> bool:
        """An action of an administrator. What agents do all the time is none, but whoever does it with a token is no agent."""
        return self.role is Role.ADMIN and (self.hosts is Hosts.NONE or caller.token)


PUBLIC: Final = Access(Role.ANONYMOUS, Hosts.ALL)
READ: Final = Access(Role.VIEWER)
WRITE: Final = Access(Role.EDITOR)
ADMIN: Final = Access(Role.ADMIN)

UNKNOWN: Final = READ
"""What the table does not have: strangers and hosts learn nothing about it, others that it does not exist."""


class Guard:
    """The application behind the table: routes in the order in which they are tried, with what each method needs."""

    def __init__(
        self, inside: ASGIApp, table: Sequence[tuple[Route, Mapping[str, Access]]], audit: Audit, registry: Registry
    ) -> None:
        self._inside, self._table, self._audit, self._registry = inside, table, audit, registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise TypeError(scope["type"])
        request = Request(scope)
        try:
            needed, parameters = self._needed(scope)
            caller = self._admit(request, needed, parameters)
            await self._pass(request, needed, caller, (receive, send))
        except Refused as refused:
            await answers.refusal(refused)(scope, receive, send)

    def _needed(self, scope: Scope) -> tuple[Access, Mapping[str, str]]:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        for route, methods in self._table:
            match, child = route.matches(scope)
            if match is Match.FULL:
                return methods.get(method, UNKNOWN), child.get("path_params", {})
        return UNKNOWN, {}

    def _admit(self, request: Request, needed: Access, parameters: Mapping[str, str]) -> Caller:
        """Who asks. Raises ``Refused`` with 401 for strangers, 403 for others."""
        caller = caller_of(request)
        if caller.role is Role.HOST:
            if self._host_may(request, needed, parameters, caller.host):
                return caller
            why = f"host {caller.host} may only ask for what is its own"
            remedy = "Use a token of a person: weft token create"
            raise self._refused(request, caller, 403, why, remedy)
        if _RANKS.index(caller.role) >= _RANKS.index(needed.role):
            return caller
        if caller.role is Role.ANONYMOUS:
            remedy = "Send a bearer token that is valid (weft: WEFT_TOKEN); an admin makes one with: weft token create"
            raise self._refused(request, caller, 401, "the request has no valid token", remedy)
        why = f"{caller.name} has the role {caller.role.value}, and this needs {needed.role.value}"
        raise self._refused(request, caller, 403, why, "Ask an admin to do it, or for a token of that role")

    def _host_may(self, request: Request, needed: Access, parameters: Mapping[str, str], host: str) -> bool:
        if needed.hosts is Hosts.NONE or not host:
            return False
        if needed.hosts is Hosts.ALL:
            return True
        if "node" in parameters:
            return parameters["node"] in self._nodes(host)
        named = [parameters["host"]] if "host" in parameters else request.query_params.getlist("host")
        return named == [host]

    def _nodes(self, host: str) -> set[str]:
        reports = [each.report for each in self._registry.hosts if each.report.host == host]
        return {
            node_id(each.placement.value, each.namespace, each.name) for report in reports for each in report.workloads
        }

    def _refused(self, request: Request, caller: Caller, code: int, why: str, remedy: str) -> Refused:
        where = f"{request.method} {request.url.path}"
        self._audit.note(Kind.REFUSAL, caller.name, where, Outcome.REFUSED, where=caller.where, status=str(code))
        return Refused(code, problem("WFT-1513", why, remedy, where))

    async def _pass(self, request: Request, needed: Access, caller: Caller, wire: tuple[Receive, Send]) -> None:
        receive, send = wire
        looks = request.method in ("GET", "HEAD") or _RANKS.index(needed.role) < _RANKS.index(Role.EDITOR)
        audited = needed.audited(caller)
        if looks or (needed.hosts is not Hosts.NONE and not audited):
            await self._inside(request.scope, receive, send)
            return
        try:
            await self._audit.ready()
            if audited:
                await self._write_down(request, caller, Outcome.ASKED, 0)
        except UnusableError as error:
            raise Refused(507, error.problem) from error
        code = 500

        async def watched(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                if audited:
                    await self._write_down_after(request, caller, code)
            await send(message)

        await self._inside(request.scope, receive, watched)

    async def _write_down_after(self, request: Request, caller: Caller, code: int) -> None:
        """That it was asked for is on the disk already; what became of it follows when it can be written."""
        outcome = Outcome.DONE if code < 400 else Outcome.REFUSED if code < 500 else Outcome.FAILED
        try:
            await self._write_down(request, caller, outcome, code)
        except UnusableError:
            what = f"{request.method} {request.url.path}"
            self._audit.note(Kind.OPERATION, caller.name, what, outcome, where=caller.where, status=str(code))

    async def _write_down(self, request: Request, caller: Caller, outcome: Outcome, code: int) -> None:
        what = f"{request.method} {request.url.path}"
        detail = {"status": str(code)} if code else {}
        if request.url.query:
            detail["query"] = request.url.query
        await self._audit.record(Kind.OPERATION, caller.name, what, outcome, where=caller.where, **detail)


class Local:
    """The unix socket of this machine: its owner and root are admins, and everybody else is refused. Every process of the
    owner's is the owner: what runs under one uid cannot be told apart here.
    """

    def __init__(self, inside: ASGIApp, uid: int) -> None:
        self._inside, self._uid = inside, uid

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._inside({**scope, CALLER: local(scope, self._uid)}, receive, send)


def local(scope: Scope, owner: int) -> Caller:
    """By what the kernel says of the process at the other end (``server.PeerProtocol``)."""
    host, number = scope.get("client") or ("", 0)
    said = host.removeprefix("uid:")
    if not host.startswith("uid:") or not (said.isascii() and said.isdigit()):
        return STRANGER
    uid, where = int(said), f"{host} pid:{number}"
    role = Role.ADMIN if uid in (ROOT, owner) else Role.ANONYMOUS
    return Caller(role, user_name(uid), where)


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def bearer(request: Request, tokens: Tokens, where: str) -> tuple[Caller, Callable[[], bool]]:
    """By the token in ``Authorization``, and whether that is good still; a stranger without a valid one."""
    scheme, _, said = request.headers.get("authorization", "").partition(" ")
    token = tokens.find(said.strip()) if scheme.lower() == "bearer" and said.strip() else None
    if token is None:
        return Caller(Role.ANONYMOUS, "stranger", where), lambda: True
    return Caller(token.role, f"token {token.name}", where, token=True), lambda: tokens.holds(token)


async def while_it_holds(
    inside: ASGIApp, scope: Scope, receive: Receive, send: Send, holds: Callable[[], bool]
) -> None:
    """Answer, but say nothing more as soon as who asks is nobody any more: a watch that was let in goes on for long. Where
    nothing was said yet the answer is 401.
    """
    begun = False
    with anyio.CancelScope() as answering:

        async def checked(message: Message) -> None:
            nonlocal begun
            if not holds():
                answering.cancel()
                await anyio.lowlevel.checkpoint()
            begun = True
            await send(message)

        await inside(scope, receive, checked)
    if answering.cancelled_caught and not begun:
        why = "the token or certificate of the request ended before the answer; what was asked for may have been done"
        found = problem(
            "WFT-1513", why, "Look whether it was done, with one that is valid", f"{scope['method']} {scope['path']}"
        )
        await answers.refusal(Refused(401, found))(scope, receive, send)


def caller_of(request: Request) -> Caller:
    """Who asks, as the door said that the request came through."""
    found = request.scope.get(CALLER)
    return found if isinstance(found, Caller) else STRANGER
