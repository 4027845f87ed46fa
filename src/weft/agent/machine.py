"""What all units of one agent share, and what each of them must offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from weft.agent.proxy import Proxy, host_network, no_secrets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from weft.agent.child import Child, Status
    from weft.agent.ports import Ports
    from weft.agent.processes import Namespace
    from weft.agent.settings import Settings
    from weft.model.service import Workload


@dataclass(frozen=True)
class Machine:
    """``render`` makes the bootstrap of the proxy with this node id; ``changed`` is told when a report would differ;
    ``secrets`` returns when a proxy's SVID is there (or will not come soon).
    """

    settings: Settings
    binary: Path
    ports: Ports
    render: Callable[[str], bytes]
    changed: Callable[[], None]
    transparent: bool
    secrets: Callable[[str], Awaitable[None]] = no_secrets

    def proxy(self, node: str, namespace: Callable[[], Awaitable[Namespace | None]] = host_network) -> Proxy:
        """The Envoy of one node, not started yet."""
        settings = self.settings
        return Proxy(
            node,
            settings.paths,
            self.binary,
            settings.concurrency,
            lambda: self.render(node),
            namespace,
            self.secrets,
        )


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One process, as ``weft ps`` shows it (``GET /v1/processes``). ``since`` is in seconds since 1970."""

    name: str
    namespace: str
    kind: str
    state: str
    service: str = ""
    version: str = ""
    pid: int = 0
    since: float = 0.0
    restarts: int = 0
    capture: str = ""
    ports: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    """Where a gateway is reached."""
    reason: str = ""


class Unit(Protocol):
    """Something that the agent keeps running: a workload with its proxy, or a proxy alone."""

    @property
    def key(self) -> str: ...

    @property
    def node(self) -> str:
        """Its xDS node id, which is also what SVIDs are asked for by."""

    @property
    def proxy(self) -> Proxy | None: ...

    async def run(self) -> None:
        """Keep it running; returns after ``stop``. Cancelled: its processes go on for the next agent."""

    async def stop(self, *, drain: bool) -> None:
        """End it for good, in order."""

    def report(self) -> Workload | None:
        """What control shall know of it."""

    def rows(self) -> tuple[Row, ...]: ...

    def children(self) -> tuple[Child, ...]: ...


def reason(status: Status) -> str:
    """Why a process is not running; nothing for one that runs."""
    return "" if status.pid else status.reason


def proxy_row(proxy: Proxy, namespace: str, name: str, *, service: str = "", version: str = "") -> Row:
    """The row of one Envoy."""
    status = proxy.child.status.value
    return Row(
        name=name,
        namespace=namespace,
        service=service,
        version=version,
        kind="proxy",
        state=status.state.value,
        pid=status.pid,
        since=status.since,
        restarts=status.restarts,
        reason=reason(status),
    )
