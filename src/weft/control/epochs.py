"""When callers are told to make new connections: after every callee has the policy that the new ones shall meet.

What is decided about a connection (mutual TLS, network RBAC, a ban) is decided when it is made. So when that changes
(``Peers.epoch``), callers make new connections and let the old ones finish. Were they told at once, some would connect to a
callee that does not have the new policy yet, and that connection would live on until the callee cuts it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from weft.names import ServiceKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.model.mesh import Mesh
    from weft.model.trust import Peers

Place: TypeAlias = tuple[ServiceKey, int]
_NOTHING: Mapping[Place, Peers] = MappingProxyType({})


class Epochs:
    """The epochs that callers have been told. ``waiting``: some of the newest are held back until ``release``."""

    def __init__(self) -> None:
        self.waiting = False
        self._wanted = _NOTHING
        self._told = _NOTHING

    def held_back(self, mesh: Mesh) -> Mesh:
        """``mesh`` with the epochs that callers may know now; the same object when that changes nothing."""
        if mesh.peers is not self._wanted:
            self._wanted = mesh.peers
            late = {place: peers for place, peers in mesh.peers.items() if self._is_late(place, peers)}
            self._told = MappingProxyType({**mesh.peers, **self._before(late)}) if late else mesh.peers
            self.waiting = bool(late)
        return mesh if self._told is mesh.peers else msgspec.structs.replace(mesh, peers=self._told)

    def release(self) -> None:
        """Every callee has what it shall have."""
        self._told = self._wanted
        self.waiting = False

    def _is_late(self, place: Place, peers: Peers) -> bool:
        told = self._told.get(place)
        return told is not None and told.epoch != peers.epoch

    def _before(self, late: Mapping[Place, Peers]) -> dict[Place, Peers]:
        return {place: msgspec.structs.replace(peers, epoch=self._told[place].epoch) for place, peers in late.items()}
