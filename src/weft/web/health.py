"""Whether the control plane lives, whether it is ready, and its own metrics.

``/livez``: the process answers. ``/readyz``: every source was read and proxies can be served; 503 says what is missing.
"""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Final

from starlette.responses import PlainTextResponse, Response

from weft.web import answers
from weft.web.answers import Refused

if TYPE_CHECKING:
    from starlette.requests import Request

    from weft.web.context import Context

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


async def livez(request: Request, context: Context) -> Response:  # noqa: ARG001 - the form of a handler
    return PlainTextResponse("ok\n")


async def readyz(request: Request, context: Context) -> Response:  # noqa: ARG001 - as above
    """``ok``, or a Status with a problem for each thing that is waited for."""
    if found := context.engine.not_ready():
        raise Refused(503, *found)
    return PlainTextResponse("ok\n")


async def metrics(request: Request, context: Context) -> Response:  # noqa: ARG001 - as above
    """The store's own figures, then the engine's."""
    world = context.store.publisher.latest.value
    kinds = Counter((record.ref.group, record.ref.kind) for record in world.records)
    lines = [
        "# HELP weft_store_revision Number of the newest change.",
        "# TYPE weft_store_revision counter",
        f"weft_store_revision {world.revision}",
        "# HELP weft_store_objects Objects that stand, by kind.",
        "# TYPE weft_store_objects gauge",
        *(f'weft_store_objects{{group="{group}",kind="{kind}"}} {n}' for (group, kind), n in sorted(kinds.items())),
        "# HELP weft_hosts Hosts whose report is known.",
        "# TYPE weft_hosts gauge",
        f"weft_hosts {len(world.hosts)}",
        "# HELP weft_synced Whether every source was read.",
        "# TYPE weft_synced gauge",
        f"weft_synced {int(world.synced)}",
    ]
    return Response("\n".join(lines) + "\n" + context.engine.metrics(), media_type=METRICS_TYPE)


async def version(request: Request, context: Context) -> Response:  # noqa: ARG001 - as above
    """In the form of Kubernetes' ``version.Info``; major and minor are those of the API that clients may expect."""
    number = installed("weft")
    return answers.json(
        {
            "version": number,
            "gitVersion": f"v1.34.0+weft-{number}",
            "major": "1",
            "minor": "34",
            "platform": "linux",
        }
    )
