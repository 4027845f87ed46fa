"""The control plane as one task tree: a bug ends it with its traceback, an absent peer does not.

Start order: store, registry, files; then the API, so that problems can be seen; then, when every source has been read
and compiled once, xDS. A proxy that comes earlier is not answered, and so keeps what it has.
"""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack
from time import monotonic
from typing import TYPE_CHECKING

import anyio

from weft.control.engine import ControlEngine
from weft.control.pipeline import Pipeline
from weft.control.settle import Settler
from weft.sources.publish import Publisher
from weft.xds import server
from weft.xds.fleet import Fleet

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from weft.control.settings import Settings


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises ``sources.lock.UnusableError`` when the store cannot be used."""
    raise NotImplementedError
