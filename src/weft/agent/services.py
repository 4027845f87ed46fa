"""The processes that an agent needs for itself: control (on one machine), the resolver, and the fallback for proxies."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from weft.agent.child import Child
from weft.agent.machine import Row, reason
from weft.agent.processes import Launch

if TYPE_CHECKING:
    from weft.agent.settings import Settings


def make(settings: Settings, name: str, argv: tuple[str, ...], *, private: bool = False) -> Child:
    """A process of our own, with the agent's environment. ``private``: as ``Launch`` says."""
    paths = settings.paths
    log = paths.logs / f"{name}.log"
    environment = dict(settings.environment) | {
        "WEFT_STATE_DIR": str(paths.state),
        "WEFT_RUNTIME_DIR": str(paths.runtime),
        # Its log is a file: a line must be there when it was written, whatever happens next.
        "PYTHONUNBUFFERED": "1",
    }

    async def prepare() -> Launch:
        return Launch(argv=argv, environment=environment, log=log, private=private)

    return Child(paths.records / f"{name}.service.json", log, prepare)


def control(settings: Settings) -> Child:
    return make(settings, "control", settings.control_command, private=True)


def resolver(settings: Settings) -> Child:
    paths = settings.paths
    command = (sys.executable, "-s", "-P", "-m", "weft.agent.resolver")
    return make(settings, "resolver", (*command, "--socket", str(paths.resolver_socket), "--names", str(paths.names)))


def fallback(settings: Settings) -> Child:
    paths = settings.paths
    command = (sys.executable, "-s", "-P", "-m", "weft.agent.fallback")
    return make(settings, "fallback", (*command, "--socket", str(paths.fallback_socket), "--held", str(paths.held)))


def row(name: str, child: Child) -> Row:
    status = child.status.value
    return Row(
        name=name,
        namespace="",
        kind=name,
        state=status.state.value,
        pid=status.pid,
        since=status.since,
        restarts=status.restarts,
        reason=reason(status),
    )
