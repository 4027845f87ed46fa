"""Virtual addresses: by which IPv4 address a service is found inside a captured namespace.

Addresses come from class E, which no network routes: 240.0.0.0/5 for services with an HTTP port, whose connections are sniffed,
248.0.0.0/5 for those without, so that one prefix decides. The address is a hash of the service's name: it survives restarts,
other services coming and going, and a lost store. A collision is settled by age, so that no older service ever moves.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from weft.names import ServiceKey


class Space(msgspec.Struct, frozen=True):
    """``size`` addresses from ``first`` on."""

    first: int
    size: int


SNIFFED: Final = Space((240 << 24) + 256, (8 << 24) - 256)
"""240.0.0.0/5 without 240.0.0.0/24, which the agent uses itself (resolver, gateway of the namespace)."""

OPAQUE: Final = Space(248 << 24, 7 << 24)
"""248.0.0.0/5 without 255.0.0.0/8, where the broadcast address is."""


def text(address: int) -> str:
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def natural(key: ServiceKey, space: Space) -> int:
    """The address that a service has when no older one has the same."""
    digest = blake2b(f"{key.namespace}/{key.name}".encode(), digest_size=8).digest()
    return space.first + int.from_bytes(digest, "big") % space.size


def settle(wanted: Iterable[tuple[str, ServiceKey, Space]]) -> Mapping[ServiceKey, str]:
    """One address for each (creation time, service, space); the oldest, then the first by name, gets its natural one.

    The others get the next free address. Raises ValueError when a space is full. Whoever finds a younger one at its place
    takes it, and the younger one goes on looking: that leads to the same as asking the oldest first (Amble and Knuth,
    "Ordered hash tables"), without sorting them all.
    """
    taken: dict[int, tuple[str, ServiceKey, Space]] = {}
    for each in wanted:
        looking, address = each, natural(each[1], each[2])
        for _ in range(each[2].size):
            found = taken.setdefault(address, looking)
            if found is looking:
                break
            if looking[:2] < found[:2]:
                taken[address], looking = looking, found
            address = _next(address, looking[2])
        else:
            raise ValueError("no virtual address is left")
    return {key: text(address) for address, (_, key, _) in taken.items()}


def _next(address: int, space: Space) -> int:
    return space.first + (address + 1 - space.first) % space.size
