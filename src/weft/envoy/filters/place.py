"""Where a filter chain stands: the one input that every HTTP filter has in common."""

from __future__ import annotations

import enum

import msgspec


class Side(enum.Enum):
    """``OUTBOUND``: calls of an application; ``INBOUND``: calls to it; ``BOUND``: calls to one service by an address of
    its own; ``EDGE``: calls from outside; ``EGRESS``: calls on their way out.
    """

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    BOUND = "bound"
    EDGE = "edge"
    EGRESS = "egress"

    @property
    def asks(self) -> bool:
        """Virtual hosts and clusters are asked for on demand."""
        return self in (Side.OUTBOUND, Side.EGRESS)


class Place(msgspec.Struct, frozen=True, cache_hash=True):
    """``tunnels``: CONNECT requests are understood. ``looks_up``: unknown names are looked up in DNS by this proxy.
    ``guarded``: the listener whose policy every request here is subject to; empty: nothing guards this place.
    """

    side: Side
    tunnels: bool = False
    looks_up: bool = False
    guarded: str = ""
