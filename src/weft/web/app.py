"""The HTTP API as one ASGI application: which path is answered by whom, and what every answer has in common."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Final, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from weft.web import answers, discovery, health, mesh, objects, openapi
from weft.web.answers import Refused, problem
from weft.web.context import Context, place

if TYPE_CHECKING:
    from starlette.requests import Request

Handler: TypeAlias = Callable[["Request", Context], Awaitable[Response]]

OWN: Final[tuple[tuple[str, str, Handler, str], ...]] = (
    ("POST", "/weft/v1/apply", mesh.apply, "Apply manifests for an owner"),
    ("POST", "/weft/v1/diff", mesh.diff, "What an apply would change, down to the proxies"),
    ("GET", "/weft/v1/history", mesh.history, "Who changed what, when"),
    ("POST", "/weft/v1/rollback", mesh.rollback, "Make things what they were after a revision"),
    ("GET", "/weft/v1/problems", mesh.problems, "Every current problem"),
    ("GET", "/weft/v1/proxies", mesh.proxies, "Every proxy, and how far it is"),
    ("GET", "/weft/v1/proxies/{node:path}/resources", mesh.resources, "A proxy's resources, wanted or held"),
    ("GET", "/weft/v1/proxies/{node:path}/held", mesh.held, "What a proxy acknowledged, as xDS responses"),
    ("POST", "/weft/v1/proxies/{node:path}/confirm", mesh.confirm, "Let the mass-removal guard go"),
    ("GET", "/weft/v1/hosts", mesh.hosts, "Every host's report and its age"),
    ("PUT", "/weft/v1/hosts/{host}", mesh.put_host, "A host's newest report, whole"),
    ("DELETE", "/weft/v1/hosts/{host}", mesh.delete_host, "Forget a host"),
    ("GET", "/weft/v1/placements", mesh.placements, "What the agent of a host shall run"),
    ("GET", "/weft/v1/names", mesh.names, "Names and virtual addresses for the resolver"),
    ("GET", "/weft/v1/services", mesh.services, "Every service that can be called, and what stands behind it"),
    ("GET", "/livez", health.livez, "Whether the process lives"),
    ("GET", "/readyz", health.readyz, "Whether proxies are served"),
    ("GET", "/metrics", health.metrics, "Prometheus metrics of the control plane"),
    ("GET", "/version", health.version, "The version"),
)
"""Paths beside the objects': method, path, handler, what it does. The API document is generated from this."""

_log = logging.getLogger(__name__)


def app(context: Context) -> Starlette:
    routes = [Route(path, _bound(handler, context), methods=[method]) for method, path, handler, _ in OWN]
    routes += [
        Route("/api", _fixed(discovery.versions)),
        Route("/apis", _fixed(discovery.groups)),
        Route("/api/{version}", _bound(_api_resources, context)),
        Route("/apis/{group}", _bound(_api_group, context)),
        Route("/apis/{group}/{version}", _bound(_api_resources, context)),
        Route("/openapi/v3", _fixed(openapi.index)),
        Route("/openapi/v3/{name:path}", _bound(_openapi, context)),
        Route("/api/{rest:path}", _bound(objects.handle, context), methods=list(objects.METHODS)),
        Route("/apis/{rest:path}", _bound(objects.handle, context), methods=list(objects.METHODS)),
    ]
    made = Starlette(
        routes=routes,
        exception_handlers={Refused: _refused, HTTPException: _http, Exception: _failed},
    )
    made.router.redirect_slashes = False
    return made


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
    own = [(method, path, what) for method, path, _, what in OWN]
    found = openapi.document(request.path_params["name"].strip("/"), own, installed("weft"))
    if found is None:
        raise objects.unknown_path(request)
    return answers.json(found)


async def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's form
    if not isinstance(error, Refused):
        raise error
    return answers.refusal(error)


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
