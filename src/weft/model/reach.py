"""How a caller reaches an endpoint: by its own address on the same host, elsewhere by host proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

import msgspec

from weft.model.service import Address, Endpoint

if TYPE_CHECKING:
    from weft.memo import Memo
    from weft.model.service import Workload


class Where(msgspec.Struct, frozen=True, cache_hash=True):
    """Where a caller is, which says how it reaches endpoints of other hosts: by ``relay`` (the socket of its own host's
    proxy) where it has that, else by the address of theirs.
    """

    host: str
    relay: str = ""


def where_of(workload: Workload, _: Memo) -> Where:
    return Where(workload.host, workload.relay.path if workload.relay else "")


_ANY: Final = "*"
"""No host's name."""
ANYWHERE: Final = Where("")
_NOWHERE: Final = Address()


NUMBERS: Final = 2_048
"""So many spellings of a path fit behind a runtime directory of the greatest length (``weft.paths.SOCKET_LIMIT``)."""


def hosts(endpoints: tuple[Endpoint, ...]) -> frozenset[str]:
    """The hosts of those that a host's workloads are behind; one that was renewed concerns the callers of every host."""
    renewed = [_ANY] if any(each.renewed % 2 for each in endpoints) else []
    return frozenset([*renewed, *[each.host for each in endpoints if each.host]])


def reached_all(where: Where, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """Endpoints as a caller uses them. Left out is what another host has and no host proxy passes on: a workload without a
    proxy, or one of a host without an address; its own address means something else here.

    The numbers follow the names, so that one that comes or goes leaves the others' addresses as they are.
    """
    found = []
    taken: set[int] = set()
    for each in endpoints:
        number = 0
        if each.host and each.host != where.host:
            if each.remote == _NOWHERE:
                continue
            number = crc32(each.name.encode()) % NUMBERS
            while number in taken and len(taken) < NUMBERS:
                number = (number + 1) % NUMBERS
            taken.add(number)
        found.append(reached(where, each, number))
    return tuple(found)


def reached(where: Where, endpoint: Endpoint, number: int) -> Endpoint:
    """The endpoint as a caller elsewhere uses it. ``number`` tells those apart that one socket leads to: of two endpoints
    with the same address Envoy keeps one. One that was renewed changes its address's spelling: to Envoy it is another, and the
    connections to the one before end with what they carry.
    """
    turn = endpoint.renewed % 2
    if endpoint.host == where.host or endpoint.remote == _NOWHERE:
        if not (turn and endpoint.address.path):
            return endpoint
        return msgspec.structs.replace(endpoint, address=Address(path=spelled(endpoint.address.path, turn)))
    address = Address(path=spelled(where.relay, 2 * number + turn)) if where.relay else endpoint.remote
    return msgspec.structs.replace(endpoint, address=address)


def spelled(path: str, number: int) -> str:
    """One of many spellings of a path, all of them the same file: ``/run/weft/relay.sock``, ``/run/weft/./relay.sock``.

    The digits of ``number``, the lowest first, as ``/`` for 0 and ``/.`` for 1.
    """
    directory, _, name = path.rpartition("/")
    digits = "".join("/." if number >> place & 1 else "/" for place in range(number.bit_length()))
    return f"{directory}{digits}/{name}"
