"""What the proxies hold, as their agents report it, and who has not followed yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.identity.signing import HOST
from weft.identity.wire import HostTrust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from weft.identity.wire import ProxyTrust
    from weft.model.mesh import Mesh


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

    def put(self, host: str, report: HostTrust, now: int) -> bool:
        """Whether it says anything new."""
        before = self._hosts.get(host)
        self._hosts[host] = Heard(report, now)
        return before is None or before.report != report

    def forget(self, host: str) -> None:
        self._hosts.pop(host, None)

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

    def _silent(self, host: str, now: int) -> str:
        heard = self._hosts.get(host)
        if heard is None:
            return "its agent has not reported since the control plane started"
        return f"its agent, last heard of {max(0, now - heard.time)} s ago, does not report it"


def live(mesh: Mesh, reports: Reports, signed: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """(host, node) of everything that holds an SVID: each proxy of the mesh, and each host's agent that has one."""
    proxies = {(workload.host, node) for node, workload in mesh.proxies.items() if workload.proxied}
    hosts = {host for host, _ in proxies}
    agents = {(host, node) for host, node, _ in reports.held() if node == f"{HOST}{host}"} | signed
    return proxies | {(host, node) for host, node in agents if host in hosts and node == f"{HOST}{host}"}
