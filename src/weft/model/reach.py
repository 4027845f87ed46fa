"""How a caller reaches an endpoint: by its own address on the same host, elsewhere by host proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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


ANYWHERE: Final = Where("")
_NOWHERE: Final = Address()


def hosts(endpoints: tuple[Endpoint, ...]) -> frozenset[str]:
    """The hosts whose proxies pass connections on to some of these."""
    return frozenset([each.host for each in endpoints if each.remote != _NOWHERE])


def reached(where: Where, endpoint: Endpoint, number: int) -> Endpoint:
    """The endpoint as a caller elsewhere uses it. ``number`` tells those apart that one socket leads to: of two endpoints
    with the same address Envoy keeps one.
    """
    if endpoint.host == where.host or endpoint.remote == _NOWHERE:
        return endpoint
    address = Address(path=spelled(where.relay, number)) if where.relay else endpoint.remote
    return msgspec.structs.replace(endpoint, address=address)


def spelled(path: str, number: int) -> str:
    """One of many spellings of a path, all of them the same file: ``/run/weft/relay.sock``, ``/run/weft/./relay.sock``.

    The digits of ``number``, the lowest first, as ``/`` for 0 and ``/.`` for 1.
    """
    directory, _, name = path.rpartition("/")
    digits = "".join("/." if number >> place & 1 else "/" for place in range(number.bit_length()))
    return f"{directory}{digits}/{name}"
