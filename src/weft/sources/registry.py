"""What runs where: the newest whole report of each host, kept on the disk so that a restart knows every endpoint.

A report is whole and authoritative, so what it does not say is gone. There is one exception (promise C7): a report
that is empty while a workload of the host before it was still serving. Whoever stops a workload drains it first, and an
agent adopts what runs before it reports, so such a report comes from an agent that lost its memory; believing it would
take away endpoints that work. The host's last good report stays then, with a problem that says so, until a report that names
anything, one that comes after draining, or ``delete``.

A host that is not heard of keeps its last report as well: the control plane cannot tell a dead host from a cut wire,
but the proxies can, by health and outlier detection. ``Host.heard`` shows the age, and ``lose`` says which are taken for
lost: what stands behind their services is left out while anything else does (docs/decisions/0082). A control plane that
starts believes what it stored before any agent reconnects.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

import anyio
import msgspec

from weft.errors import Problem, Severity
from weft.model.service import HostReport, State
from weft.sources import lock
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from weft.sources.store import Store

HEARD_SECONDS: Final = 60.0
"""How old the stored time of an unchanged host may become before it is written again."""


class Host(msgspec.Struct, frozen=True):
    """One host: its last good report, and when it was last heard of (seconds since 1970)."""

    report: HostReport
    heard: float
    problem: Problem | None = None
    """Why its newest report is not believed."""


class Registry:
    """Beside a store, in its database and under its lock, but outside its revisions: what runs is not configuration."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store, self._now = store, now
        self._writing = anyio.Lock()
        self._hosts: dict[str, Host] = {}
        self._written: dict[str, float] = {}
        self._lost: frozenset[str] = frozenset()

    @property
    def lost(self) -> frozenset[str]:
        """The names of the hosts that are taken for lost."""
        return self._lost

    def lose(self, names: frozenset[str]) -> None:
        """These hosts, and no others, are lost."""
        if names != self._lost:
            self._lost = names
            self._publish()

    @property
    def hosts(self) -> tuple[Host, ...]:
        """Sorted by name."""
        return tuple(self._hosts[name] for name in sorted(self._hosts))

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(host.problem for host in self.hosts if host.problem)

    async def load(self) -> None:
        """Take up what was stored. A row that cannot be read is as good as none: its agent reports again."""
        for data, heard in await self._store.locked(lambda database: database.hosts()):
            try:
                report = msgspec.json.decode(data, type=HostReport)
            except msgspec.DecodeError:
                continue
            self._hosts[report.host] = Host(report, heard)
            self._written[report.host] = heard
        self._publish()

    async def put(self, report: HostReport) -> Problem | None:
        """Take a host's newest report. The problem: it is not believed (a warning) or not stored (an error)."""
        report = msgspec.structs.replace(report, lost=False)  # not an agent's to say
        async with self._writing:
            heard, name = self._now().timestamp(), report.host
            known = self._hosts.get(name)
            if known is not None and not report.workloads and serves(known.report):
                problem = _dropped(name, len(known.report.workloads))
                self._hosts[name] = msgspec.structs.replace(known, heard=heard, problem=problem)
                return problem
            if known is not None and known.report == report:
                self._hosts[name] = Host(known.report, heard)
                if heard - self._written.get(name, 0.0) < HEARD_SECONDS:
                    return None
            if unwritten := await self._keep(name, report, heard):
                return unwritten
            changed = known is None or known.report != report
            self._hosts[name] = Host(report if changed or known is None else known.report, heard)
            if changed:
                self._publish()
            return None

    async def delete(self, host: str) -> Problem | bool:
        """Forget a host. False when it is not known."""
        async with self._writing:
            if host not in self._hosts:
                return False
            try:
                await self._store.locked(lambda database: database.delete_host(host))
            except sqlite3.Error as error:
                return lock.unwritable(self._store.path, error)
            del self._hosts[host]
            self._written.pop(host, None)
            self._publish()
            return True

    async def _keep(self, name: str, report: HostReport, heard: float) -> Problem | None:
        data = msgspec.json.encode(report)
        try:
            await self._store.locked(lambda database: database.put_host(name, data, heard))
        except sqlite3.Error as error:
            return lock.unwritable(self._store.path, error)
        self._written[name] = heard
        return None

    def _publish(self) -> None:
        found = (msgspec.structs.replace(host.report, lost=host.report.host in self._lost) for host in self.hosts)
        self._store.publisher.hosts(tuple(found))


def serves(report: HostReport) -> bool:
    """Whether anything of a host receives new requests."""
    return any(port.state is State.SERVING for workload in report.workloads for port in workload.ports)


def _dropped(host: str, count: int) -> Problem:
    return Problem(
        code="WFT-1518",
        message=f"host {host} reports nothing, though its {count} workloads were serving and did not drain",
        remedy=f"If the host really runs nothing any more, delete it: DELETE /weft/v1/hosts/{host}",
        origin=Origin(f"host {host}"),
        severity=Severity.WARNING,
    )
