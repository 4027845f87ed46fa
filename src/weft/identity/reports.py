"""What the proxies hold, as their agents report it, and who has not followed yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.identity.wire import HostTrust
from weft.model.policy import ServicePolicy
from weft.names import host_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from weft.identity.wire import ProxyTrust
    from weft.model.mesh import Mesh


UNDER_WAY_SECONDS: Final = ServicePolicy().connect_timeout // 1_000 + 1
"""How long after a proxy took new secrets it may still be agreeing on a connection with those of before: what a handshake shows
and believes is settled when it begins, and it is given up after the time in which a connection must be made.
"""


class Heard(msgspec.Struct, frozen=True):
    """The newest report of a host, and when it came (seconds since 1970)."""

    report: HostTrust
    time: int


class Blocker(msgspec.Struct, frozen=True):
    """A proxy, or a host's agent, that has not followed a step; ``why`` says what is missing."""

    node: str
    host: str
    why: str


class Reports:
    """The newest report of each host. In memory: agents report again when control starts."""

    def __init__(self) -> None:
        self._hosts: dict[str, Heard] = {}
        self._changed: dict[tuple[str, str], int] = {}
        """When each (host, node) took the secrets that it holds now, as far as a rotation asks."""

    def put(self, host: str, report: HostTrust, now: int) -> bool:
        """Whether it says anything new."""
        before = self._hosts.get(host)
        self._hosts[host] = Heard(report, now)
        for node in before.report.proxies.keys() - report.proxies.keys() if before else ():
            self._changed.pop((host, node), None)
        for node, held in report.proxies.items():
            # what begins now has the newest from the start: only who held something else, or may have, is waited for
            known = before.report.proxies.get(node, held) if before else None
            if known is None or (known.sequence, known.authority) != (held.sequence, held.authority):
                self._changed[host, node] = now
        return before is None or before.report != report

    def forget(self, host: str) -> None:
        self._hosts.pop(host, None)
        self._changed = {place: time for place, time in self._changed.items() if place[0] != host}

    def heard(self, host: str) -> Heard | None:
        return self._hosts.get(host)

    def held(self) -> Iterator[tuple[str, str, ProxyTrust]]:
        """(host, node, what it holds), in order."""
        for host in sorted(self._hosts):
            report = self._hosts[host].report
            for node in sorted(report.proxies):
                yield host, node, report.proxies[node]

    def of(self, host: str, node: str) -> ProxyTrust | None:
        heard = self._hosts.get(host)
        return heard.report.proxies.get(node) if heard else None

    def missing(
        self, nodes: Iterable[tuple[str, str]], lacks: Callable[[ProxyTrust], str], banned: tuple[str, ...], now: int
    ) -> tuple[Blocker, ...]:
        """Every node of ``nodes`` (host, node) about which ``lacks`` says something; one that is not reported lacks everything.

        A banned one gets no SVID, so nobody waits for it.
        """
        found = []
        for host, node in sorted(nodes):
            held = self.of(host, node)
            if held is not None and held.spiffe_id in banned:
                continue
            why = lacks(held) if held is not None else self._silent(host, now)
            if why:
                found.append(Blocker(node, host, why))
        return tuple(found)

    def under_way(self, nodes: Iterable[tuple[str, str]], now: int) -> tuple[Blocker, ...]:
        """One for all of ``nodes`` (host, node) of which some took new secrets just now, and may be agreeing with old ones."""
        if not any(now - self._changed.get(each, 0) < UNDER_WAY_SECONDS for each in nodes):
            return ()
        why = f"connections begun with what was held before may be under way, for at most {UNDER_WAY_SECONDS} s"
        return (Blocker("handshakes", "", why),)

    def _silent(self, host: str, now: int) -> str:
        heard = self._hosts.get(host)
        if heard is None:
            return "its agent has not reported since the control plane started"
        return f"its agent, last heard of {max(0, now - heard.time)} s ago, does not report it"


def live(mesh: Mesh, reports: Reports, signed: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """(host, node) of everything that holds an SVID: each proxy of the mesh, and each host's agent that has one."""
    proxies = {(workload.host, node) for node, workload in mesh.proxies.items() if workload.proxied}
    hosts = {host for host, _ in proxies}
    agents = {(host, node) for host, node, _ in reports.held() if node == host_node(host)} | signed
    return proxies | {(host, node) for host, node in agents if host in hosts and node == host_node(host)}
