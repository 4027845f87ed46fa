"""Who calls whom on this host, from the proxies' own counters: how often, and whether with mutual TLS.

A proxy counts its application's calls by the cluster that they went to, and what reached its application in the clear by the
port. Counters begin when an Envoy starts, so every edge says since when it was counted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

import anyio
import msgspec

from weft.agent import unix_http
from weft.names import TUNNEL_PREFIX, parse_outbound_cluster

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from weft.agent.machine import Row, Unit

FILTER: Final = (
    r"^cluster\.(tunnel\|)?(outbound|tcp)\|.*\.(upstream_rq_total|upstream_cx_total|upstream_cx_connect_fail|ssl\.handshake)$"
    r"|^(http|tcp)\.inbound-plain\.[0-9]+\.downstream_cx_total$|^server\.uptime$"
)
"""What is asked of Envoy: these counters and no others."""
_LINE: Final = re.compile(r"(\S+): (\d+)")
_CLUSTER: Final = re.compile(
    r"cluster\.((?:tunnel\|)?(?:outbound|tcp)\|.*)\.(upstream_rq_total|upstream_cx_total|upstream_cx_connect_fail|ssl\.handshake)"
)
_PLAIN: Final = re.compile(r"(?:http|tcp)\.inbound-plain\.([0-9]+)\.downstream_cx_total")
_ADDRESS: Final = re.compile(r"tcp\|([0-9.]+)_([0-9]+)")
"""Envoy writes a colon in a name as an underscore."""

MTLS: Final = "mTLS"
PARTLY: Final = "partly"
PLAIN: Final = "no"
SOMEBODY: Final = "(no identity)"
IN_THE_CLEAR: Final = "nothing of ours stands before the callee, or its mode is DISABLE"
"""Which of the two it is, control knows."""
AT_ONCE: Final = 8


class Edge(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """``caller`` is ``namespace/name`` of a workload, or ``SOMEBODY``; ``callee`` a service, a host outside or a workload.

    ``secured``: ``MTLS``, ``PARTLY`` or ``PLAIN``; ``why`` says why it is not. ``since`` is in seconds since 1970. ``requests``
    is 0 where only connections are seen.
    """

    caller: str
    callee: str
    port: int
    requests: int
    connections: int
    secured: str
    why: str
    since: float


class Supervisor(Protocol):
    """What this asks of the agent."""

    def rows(self) -> tuple[Row, ...]: ...

    def find(self, name: str) -> Unit | None: ...


class _Counted(msgspec.Struct):
    requests: int = 0
    connections: int = 0
    failed: int = 0
    handshakes: int = 0
    tunnelled: bool = False


async def collect(supervisor: Supervisor, names: Path, now: float) -> tuple[Edge, ...]:
    """Every edge that a proxy of this host has seen, sorted. A proxy that does not answer is left out."""
    wanted = sorted({f"{row.namespace}/{row.name}" for row in supervisor.rows() if row.kind in ("proxy", "gateway")})
    services = known(names)
    found: list[Edge] = []
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def ask(key: str) -> None:
        unit = supervisor.find(key)
        if unit is None or unit.proxy is None:
            return
        async with limit:
            try:
                said = await unit.proxy.admin("GET", f"/stats?filter={_quoted(FILTER)}")
            except unix_http.HttpError:
                return
        found.extend(edges_of(key, said.body.decode(errors="replace"), services, now))

    async with anyio.create_task_group() as group:
        for key in wanted:
            group.start_soon(ask, key)
    return tuple(sorted(found))


def known(names: Path) -> dict[str, str]:
    """Virtual address to service, as control last told the resolver; empty when it never did."""
    try:
        said = msgspec.json.decode(names.read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}
    found: dict[str, str] = {}
    for kind in ("services", "hosts"):
        entries = said.get(kind) if isinstance(said, dict) else None
        if isinstance(entries, dict):
            found |= {str(address): str(name) for name, address in entries.items()}
    return found


def edges_of(caller: str, stats: str, services: Mapping[str, str], now: float) -> Iterable[Edge]:
    """The edges in one proxy's counters."""
    counted: dict[str, _Counted] = {}
    plain: dict[int, int] = {}
    uptime = 0
    for line in stats.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        name, value = match[1], int(match[2])
        if name == "server.uptime":
            uptime = value
        elif (cluster := _CLUSTER.fullmatch(name)) is not None:
            _add(counted, cluster[1], cluster[2], value)
        elif (port := _PLAIN.fullmatch(name)) is not None:
            plain[int(port[1])] = plain.get(int(port[1]), 0) + value
    since = now - uptime
    for cluster_name, each in sorted(counted.items()):
        if each.connections or each.requests:
            yield _outbound(caller, cluster_name, each, services, since)
    for number, connections in sorted(plain.items()):
        if connections:
            why = "came without a proxy of the mesh, and the port takes plaintext"
            yield Edge(
                caller=SOMEBODY,
                callee=caller,
                port=number,
                requests=0,
                connections=connections,
                secured=PLAIN,
                why=why,
                since=since,
            )


def _add(counted: dict[str, _Counted], name: str, what: str, value: int) -> None:
    """The pooled tunnels behind a cluster say that it is secured; how often it was used the cluster counts itself."""
    each = counted.setdefault(name.removeprefix(TUNNEL_PREFIX), _Counted())
    if name.startswith(TUNNEL_PREFIX):
        each.tunnelled = each.tunnelled or (what == "ssl.handshake" and value > 0)
    elif what == "ssl.handshake":
        each.handshakes += value
    elif what == "upstream_rq_total":
        each.requests += value
    elif what == "upstream_cx_total":
        each.connections += value
    else:
        each.failed += value


def _outbound(caller: str, name: str, counted: _Counted, services: Mapping[str, str], since: float) -> Edge:
    callee, port, inside = _target(name, services)
    opaque = name.startswith("tcp|")
    secured, why = _secured(counted, inside=inside)
    return Edge(
        caller=caller,
        callee=callee,
        port=port,
        requests=0 if opaque else counted.requests,
        connections=counted.connections,
        secured=secured,
        why=why,
        since=since,
    )


def _target(name: str, services: Mapping[str, str]) -> tuple[str, int, bool]:
    """What a cluster leads to, its port, and whether that is inside the mesh."""
    if (address := _ADDRESS.fullmatch(name)) is not None:
        callee = services.get(address[1], address[1])
        return callee, int(address[2]), callee in services.values() and callee.count(".") == 1
    cluster = parse_outbound_cluster(name)
    if cluster is None:
        return name, 0, False
    service = cluster.service
    return (str(service), cluster.port, True) if service else (cluster.host, cluster.port, False)


def _secured(counted: _Counted, *, inside: bool) -> tuple[str, str]:
    made = counted.connections - counted.failed
    if counted.tunnelled or (counted.handshakes and counted.handshakes >= made):
        return MTLS if inside else "TLS", ""
    if counted.handshakes:
        return PARTLY, f"{made - counted.handshakes} of {made} connections came to no TLS"
    if made <= 0:
        return PLAIN, "no connection was made"
    if inside:
        return PLAIN, IN_THE_CLEAR
    return PLAIN, "it is outside the mesh"


def _quoted(text: str) -> str:
    return "".join(letter if letter.isalnum() else f"%{ord(letter):02X}" for letter in text)
