"""The HTTP API as one ASGI application: which path is answered by whom, and what every answer has in common."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from importlib.metadata import version as installed
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from weft.sources.lock import UnusableError
from weft.sources.tokens import Role
from weft.web import answers, audit, authz, bans, discovery, health, join, mesh, objects, openapi, tokens, trust
from weft.web.access import ADMIN, PUBLIC, READ, WRITE, Access, Guard, Hosts
from weft.web.answers import Refused, problem
from weft.web.context import Context, place

if TYPE_CHECKING:
    from starlette.requests import Request

Handler: TypeAlias = Callable[["Request", Context], Awaitable[Response]]


class Row(NamedTuple):
    """One path beside the objects': who answers it, what that does, and who may use it. There is no row without ``access``."""

    method: str
    path: str
    handler: Handler
    what: str
    access: Access


OWN: Final[tuple[Row, ...]] = (
    Row("POST", "/weft/v1/apply", mesh.apply, "Apply manifests for an owner", WRITE),
    Row("POST", "/weft/v1/diff", mesh.diff, "What an apply would change, down to the proxies", READ),
    Row("GET", "/weft/v1/history", mesh.history, "Who changed what, when", READ),
    Row("POST", "/weft/v1/rollback", mesh.rollback, "Make things what they were after a revision", WRITE),
    Row("GET", "/weft/v1/problems", mesh.problems, "Every current problem", READ),
    Row("GET", "/weft/v1/proxies", mesh.proxies, "Every proxy, and how far it is", READ),
    Row("GET", "/weft/v1/proxies/{node:path}/resources", mesh.resources, "A proxy's resources, wanted or held", READ),
    Row(
        "GET",
        "/weft/v1/proxies/{node:path}/held",
        mesh.held,
        "What a proxy acknowledged, as xDS responses",
        Access(Role.ADMIN, Hosts.OWN),
    ),
    Row("POST", "/weft/v1/proxies/{node:path}/confirm", mesh.confirm, "Let the mass-removal guard go", ADMIN),
    Row("GET", "/weft/v1/hosts", mesh.hosts, "Every host's report and its age", READ),
    Row("PUT", "/weft/v1/hosts/{host}", mesh.put_host, "A host's newest report, whole", Access(Role.ADMIN, Hosts.OWN)),
    Row("DELETE", "/weft/v1/hosts/{host}", mesh.delete_host, "Forget a host", ADMIN),
    Row(
        "GET",
        "/weft/v1/placements",
        mesh.placements,
        "What the agent of a host shall run",
        Access(Role.ADMIN, Hosts.OWN),
    ),
    Row(
        "GET",
        "/weft/v1/names",
        mesh.names,
        "Names and virtual addresses for the resolver",
        Access(Role.VIEWER, Hosts.ALL),
    ),
    Row("GET", "/weft/v1/services", mesh.services, "Every service that can be called, and what stands behind it", READ),
    Row(
        "POST",
        "/weft/v1/svids",
        trust.svids,
        "Sign CSRs: X.509-SVIDs for what a host runs",
        Access(Role.ADMIN, Hosts.ALL),
    ),
    Row(
        "GET", "/weft/v1/trust", trust.watch, "Bundles, bans, and which authority signs", Access(Role.VIEWER, Hosts.ALL)
    ),
    Row(
        "PUT",
        "/weft/v1/hosts/{host}/trust",
        trust.put_host,
        "What the proxies of a host hold and trust",
        Access(Role.ADMIN, Hosts.OWN),
    ),
    Row(
        "POST",
        "/weft/v1/hosts/{host}/refusals",
        trust.refusals,
        "Whom the agent of a host refused, for the audit log",
        Access(Role.ADMIN, Hosts.OWN),
    ),
    Row("GET", "/weft/v1/join", join.offer, "The trust domain and its roots, for a host that joins", PUBLIC),
    Row("POST", "/weft/v1/join", join.redeem, "The SVID of a host that joins, for its token", PUBLIC),
    Row("POST", "/weft/v1/jwt-svids", trust.jwt_svids, "A token for what a host runs", Access(Role.ADMIN, Hosts.ALL)),
    Row("GET", "/weft/v1/identities", trust.identities, "Every identity: who holds it, until when", READ),
    Row("GET", "/weft/v1/authorities", trust.authorities, "The states of the authority, and who blocks a step", READ),
    Row("POST", "/weft/v1/authorities/{step}", trust.step, "Prepare, activate, taint, revoke or rotate", ADMIN),
    Row("GET", "/weft/v1/federation", trust.federation, "Other trust domains whose bundles are held", READ),
    Row("POST", "/weft/v1/federation", trust.federate, "Trust another trust domain", ADMIN),
    Row("DELETE", "/weft/v1/federation/{domain}", trust.unfederate, "Trust another trust domain no more", ADMIN),
    Row("GET", "/.well-known/spiffe-bundle", trust.bundle, "Our bundle, as a SPIFFE bundle document", PUBLIC),
    Row("GET", "/weft/v1/bans", bans.listed, "Identities that are banned", READ),
    Row("POST", "/weft/v1/bans", bans.ban, "Ban an identity", ADMIN),
    Row("DELETE", "/weft/v1/bans", bans.unban, "Lift a ban", ADMIN),
    Row("GET", "/weft/v1/tokens", tokens.listed, "API tokens, and hosts that are invited", ADMIN),
    Row("POST", "/weft/v1/tokens", tokens.create, "Make an API token, or one for a host that joins", ADMIN),
    Row("DELETE", "/weft/v1/tokens/{name}", tokens.revoke, "Revoke a token", ADMIN),
    Row("GET", "/weft/v1/audit", audit.listed, "The log of changes and refusals", ADMIN),
    Row("GET", "/weft/v1/audit/verify", audit.verify, "Whether anything was taken out of the log", ADMIN),
    Row("POST", "/weft/v1/can", authz.can, "Whether a call is allowed, and which rule says so", READ),
    Row("GET", "/weft/v1/authz/{namespace}/{workload}", authz.listed, "What guards a workload, in order", READ),
    Row("GET", "/livez", health.livez, "Whether the process lives", PUBLIC),
    Row("GET", "/readyz", health.readyz, "Whether proxies are served", PUBLIC),
    Row("GET", "/metrics", health.metrics, "Prometheus metrics of the control plane", READ),
    Row("GET", "/version", health.version, "The version", Access(Role.VIEWER, Hosts.ALL)),
)
"""Paths beside the objects'. The API document is generated from this, and ``access.Guard`` goes by it."""

OBJECTS: Final[Mapping[str, Access]] = MappingProxyType(
    {method: READ if method == "GET" else WRITE for method in objects.METHODS if method != "HEAD"}
)
"""What the paths of objects need."""

_log = logging.getLogger(__name__)


def app(context: Context) -> Guard:
    """Whoever serves it says who asks (``access.Local``, ``gate.Gate``); a request without that is a stranger's."""
    table = tuple(_routes(context))
    made = Starlette(
        routes=[route for route, _ in table],
        exception_handlers={Refused: _refused, UnusableError: _unwritten, HTTPException: _http, Exception: _failed},
    )
    made.router.redirect_slashes = False
    return Guard(made, table, context.audit, context.registry)


def _routes(context: Context) -> Iterator[tuple[Route, Mapping[str, Access]]]:
    """Every route there is, with what each of its methods needs."""
    for row in OWN:
        yield Route(row.path, _bound(row.handler, context), methods=[row.method]), {row.method: row.access}
    reading = (
        Route("/api", _fixed(discovery.versions)),
        Route("/apis", _fixed(discovery.groups)),
        Route("/api/{version}", _bound(_api_resources, context)),
        Route("/apis/{group}", _bound(_api_group, context)),
        Route("/apis/{group}/{version}", _bound(_api_resources, context)),
        Route("/openapi/v3", _fixed(openapi.index)),
        Route("/openapi/v3/{name:path}", _bound(_openapi, context)),
    )
    for route in reading:
        yield route, {"GET": READ}
    for prefix in ("api", "apis"):
        yield Route(f"/{prefix}/{{rest:path}}", _bound(objects.handle, context), methods=list(objects.METHODS)), OBJECTS


def _bound(handler: Handler, context: Context) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await handler(request, context)

    return endpoint


def _fixed(make: Callable[[], object]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:  # noqa: ARG001 - Starlette's form
        return answers.json(make())

    return endpoint


async def _api_resources(request: Request, context: Context) -> Response:  # noqa: ARG001 - the form of a handler
    found = discovery.resources(request.path_params.get("group", ""), request.path_params["version"])
    if found is None:
        raise objects.unknown_path(request)
    return answers.json(found)


async def _api_group(request: Request, context: Context) -> Response:  # noqa: ARG001 - as above
    found = discovery.group(request.path_params["group"])
    if found is None:
        raise objects.unknown_path(request)
    return answers.json(found)


async def _openapi(request: Request, context: Context) -> Response:  # noqa: ARG001 - as above
    own = [(row.method, row.path, row.what) for row in OWN]
    found = openapi.document(request.path_params["name"].strip("/"), own, installed("weft"))
    if found is None:
        raise objects.unknown_path(request)
    return answers.json(found)


async def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's form
    if not isinstance(error, Refused):
        raise error
    return answers.refusal(error)


async def _unwritten(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as above
    """What must be on the disk before it is done, and cannot be."""
    if not isinstance(error, UnusableError):
        raise error
    return answers.refusal(Refused(507, error.problem))


async def _http(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: unknown paths and methods."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 404:
        return answers.refusal(objects.unknown_path(request))
    allowed = (error.headers or {}).get("Allow", "another method")
    message = f"{request.method} does not exist here"
    found = problem("WFT-1519", message, f"Use {allowed}", place(request))
    response = answers.refusal(Refused(error.status_code, found))
    response.headers.update(error.headers or {})
    return response


async def _failed(request: Request, error: Exception) -> Response:
    """A bug. The client learns that it is ours; the log has the traceback."""
    _log.error("%s failed", place(request), exc_info=error)
    return answers.refusal(Refused(500))
