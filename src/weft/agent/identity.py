"""Identity on this host, put together: SVIDs, the secrets of proxies, the Workload API, and what control is told of them."""

from __future__ import annotations

import logging
import os
import random
import time
from typing import TYPE_CHECKING, Final

import anyio
import msgspec

from weft.agent import peers, unix_http
from weft.agent.instance import Instance
from weft.agent.peers import Candidate
from weft.agent.refusals import Refusals
from weft.agent.registered import Registered
from weft.agent.sds import Sds
from weft.agent.svids import Holder, Svids
from weft.agent.workload_api import WorkloadApi
from weft.identity.wire import HostTrust, ProxyTrust
from weft.names import host_node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.agent.control import Control
    from weft.agent.settings import Settings
    from weft.agent.units import Units
    from weft.identity.attest import Facts

_LOG: Final = logging.getLogger(__name__)

FIRST_SVID_SECONDS: Final = 3.0
"""How long a proxy's start waits for its SVID. Without one it starts all the same, and its listeners stay shut."""
REPEAT_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 1.0
"""How often is looked whether there is something to report that nothing announces: a proxy that holds no secrets at all."""
RETRY_SECONDS: Final = 0.25


class Identities:
    """``run`` before any unit runs: a proxy that starts finds its socket there."""

    def __init__(self, settings: Settings, control: Control, units: Units) -> None:
        self._settings = settings
        self._control = control
        self._units = units
        self._host = host_node(settings.host)
        self.svids = Svids(
            control, self._wanted, self._nodes, time.time, random.SystemRandom(), accounts=self._accounts
        )
        self.refusals = Refusals()
        self.sds = Sds(self.svids.held, self.node_of, self.refusals.note)
        self.workload_api = WorkloadApi(
            self.svids, self.entitled, lambda: peers.asks_for_hash(self._candidates()), self.refusals.note
        )

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.svids.run)
            group.start_soon(self.sds.serve, self._settings.paths.sds_socket)
            group.start_soon(self.workload_api.serve, self._settings.paths.workload_socket)
            group.start_soon(self._report)
            group.start_soon(self.refusals.run, self._tell_refusals)

    async def _tell_refusals(self, body: bytes) -> unix_http.Answer:
        path = f"/weft/v1/hosts/{self._settings.host}/refusals"
        return await unix_http.request(self._control.address, "POST", path, body)

    async def first(self, node: str) -> None:
        """Return when a proxy has what it starts with."""
        await self.svids.wait(node, FIRST_SVID_SECONDS)

    def _wanted(self) -> frozenset[str]:
        proxies = (unit.proxy.node for unit in self._units.all() if unit.proxy)
        return frozenset((*proxies, self._host))

    def _nodes(self) -> frozenset[str]:
        return frozenset((*(unit.node for unit in self._units.all()), self._host))

    def _accounts(self) -> dict[str, str]:
        """The service account of each workload that lives here, by its node."""
        found: dict[str, str] = {}
        for unit in self._units.all():
            if isinstance(unit, Instance):
                found[unit.node] = unit.plan.spec.service_account
            elif isinstance(unit, Registered):
                found[unit.node] = unit.spec.service_account
        return found

    def node_of(self, pid: int, started: int) -> str:
        """Which proxy of ours a process is (``sds.Roster``)."""
        for unit in self._units.all():
            if unit.proxy and any(one.pid == pid and one.started == started for one in unit.proxy.processes):
                return unit.proxy.node
        return ""

    def entitled(self, facts: Facts) -> tuple[str, ...]:
        """Which workloads of ours a process is (``workload_api.Entitled``)."""
        return peers.entitled(facts, self._candidates())

    def _candidates(self) -> Iterator[Candidate]:
        for unit in self._units.all():
            if isinstance(unit, Instance):
                yield _candidate(unit)
            elif isinstance(unit, Registered):
                yield Candidate(unit.node, unit.spec)

    def report(self) -> HostTrust:
        """What the proxies took, and what the agent itself holds."""
        found, snapshot = self.sds.report(), self.svids.held.value
        if snapshot.trust and (own := snapshot.svids.get(Holder(self._host))):
            found[self._host] = ProxyTrust(own.spiffe_id, snapshot.trust.sequence, own.authority, int(own.not_after))
        return HostTrust(found)

    async def whole_report(self) -> HostTrust:
        """And what those proxies will be given that hold no secrets at all and have asked for none: nobody waits for them.

        That nothing is held is Envoy's own word. To have no stream is not enough: after a break an Envoy that holds secrets
        has none for a moment, and neither has one that an agent before this one started.
        """
        report, snapshot = self.report(), self.svids.held.value
        if snapshot.trust is None:
            return report
        found = dict(report.proxies)
        for unit in self._units.all():
            if unit.proxy is None or unit.proxy.node in found or len(unit.proxy.processes) != 1:
                continue
            svid = snapshot.svids.get(Holder(unit.proxy.node))
            if svid and await unit.proxy.holds_nothing():
                held = ProxyTrust(svid.spiffe_id, snapshot.trust.sequence, svid.authority, int(svid.not_after))
                found[unit.proxy.node] = held
        return HostTrust(found)

    async def _report(self) -> None:
        """Tell control at once after each change, and again every ten seconds: it may have lost it. What it does not take is
        told again soon: a rotation waits for it.
        """
        serial, told, repeat = -1, None, 0.0
        while True:
            before = serial
            with anyio.move_on_after(LOOK_SECONDS):
                await self.sds.taken.newer_than(serial)
            serial, report = self.sds.taken.serial, await self.whole_report()
            if serial == before and report == told and anyio.current_time() < repeat:
                continue
            try:
                await self._tell(report)
                told, repeat = report, anyio.current_time() + REPEAT_SECONDS
            except unix_http.HttpError as error:
                _LOG.debug("what the proxies hold: %s", error)
                serial = -1
                await anyio.sleep(RETRY_SECONDS)

    async def _tell(self, report: HostTrust) -> None:
        """Raises ``HttpError`` where it may be taken in a moment: a control that has just started knows of no mesh yet. What is
        refused for who this host is (it is banned) is told again when its time comes.
        """
        path = f"/weft/v1/hosts/{self._settings.host}/trust"
        answer = await unix_http.request(self._control.address, "PUT", path, msgspec.json.encode(report))
        if answer.status >= 500:
            raise unix_http.HttpError(f"control answers {answer.status} to what the proxies hold")


def _candidate(instance: Instance) -> Candidate:
    application, namespace = instance.application.identity, instance.namespace
    return Candidate(
        instance.node,
        instance.plan.spec,
        application.pid if application else 0,
        application.started if application else 0,
        os.fstat(namespace.descriptors[-1]).st_ino if namespace else 0,
        tuple(one.pid for one in instance.proxy.processes) if instance.proxy else (),
    )
