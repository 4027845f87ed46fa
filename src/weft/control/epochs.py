"""Who hears first of a change that callers and callees must agree on: callers when the callees can take what they begin.

What is decided about a connection (mutual TLS, network RBAC, a ban) is decided when it is made. So when that changes
(``Peers.epoch``), callers make new connections and let the old ones finish. Were they told at once, some would connect to a
callee that does not have the new policy yet, and that connection would live on until the callee cuts it.

A port in mode DISABLE may take nothing but plaintext, one in mode STRICT nothing but TLS; one in mode PERMISSIVE takes both. So
from or to DISABLE the way leads over PERMISSIVE, for as long as it takes callers to follow:

    DISABLE -> STRICT    callees PERMISSIVE | callers TLS | callees STRICT
    STRICT -> DISABLE    callees PERMISSIVE, callers plain | callees DISABLE

Policies hold at once. Each ``|`` is a ``release``.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from weft.model.trust import Guard, Shape, TlsMode
from weft.names import ServiceKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.model.mesh import Mesh
    from weft.model.trust import Peers

Place: TypeAlias = tuple[ServiceKey, int]
Guards: TypeAlias = tuple[tuple[int, Guard], ...]
_NOTHING: Mapping[Place, Peers] = MappingProxyType({})
_NOBODY: Mapping[tuple[str, str], Guards] = MappingProxyType({})


class Epochs:
    """What callers and callees have been told. ``waiting``: some of the newest is held back until ``release``."""

    def __init__(self) -> None:
        self._wanted = _NOTHING
        self._told = _NOTHING
        self._wanted_guards = _NOBODY
        self._told_guards = _NOBODY
        self._ripe = _NOBODY
        """Of ``_wanted_guards``, those whose callers have been told: the next release is theirs, whatever else changes."""
        self.changes = 0
        """Counts up with what is wanted: an answer to what was told before says nothing of it."""

    @property
    def waiting(self) -> bool:
        return self._told is not self._wanted or self._told_guards is not self._wanted_guards

    def held_back(self, mesh: Mesh) -> Mesh:
        """``mesh`` with what may be known of it now; the same object when that is all."""
        if mesh.peers is not self._wanted or mesh.guards is not self._wanted_guards:
            self.changes += 1
        if mesh.peers is not self._wanted:
            self._wanted = mesh.peers
            late = {place: before for place, peers in mesh.peers.items() if (before := self._before(place, peers))}
            self._told = MappingProxyType({**mesh.peers, **late}) if late else mesh.peers
        if mesh.guards is not self._wanted_guards:
            both = {name: over for name, guards in mesh.guards.items() if (over := self._over(name, guards)) != guards}
            self._wanted_guards = mesh.guards
            self._ripe = MappingProxyType({name: it for name, it in self._ripe.items() if mesh.guards.get(name) == it})
            self._told_guards = MappingProxyType({**mesh.guards, **both}) if both else mesh.guards
        if self._told is mesh.peers and self._told_guards is mesh.guards:
            return mesh
        return msgspec.structs.replace(mesh, peers=self._told, guards=self._told_guards)

    def release(self) -> None:
        """Everybody has what they were told: callers hear the rest of it, and callees, if their callers have."""
        if self._told is self._wanted:
            self._told_guards, self._ripe = self._wanted_guards, _NOBODY
            return
        self._told = self._wanted
        if self._told_guards is not self._wanted_guards:
            told = {**self._told_guards, **self._ripe}
            self._told_guards = self._wanted_guards if told == self._wanted_guards else MappingProxyType(told)
            self._ripe = self._wanted_guards

    def _before(self, place: Place, peers: Peers) -> Peers | None:
        """What callers are told meanwhile, when it is not ``peers``."""
        told = self._told.get(place)
        if told is None:
            return None
        if told.disabled and peers.shape is not Shape.PLAIN:
            return told
        return msgspec.structs.replace(peers, epoch=told.epoch) if told.epoch != peers.epoch else None

    def _over(self, name: tuple[str, str], guards: Guards) -> Guards:
        """What a callee is told meanwhile. Before the newest of ``wanted`` is taken over."""
        found = self._told_guards.get(name)
        if found is None or found is guards:
            return guards
        told, wanted = _modes(found), _modes(self._wanted_guards.get(name, ()))
        return tuple(
            [(port, _meanwhile(told.get(port, guard.mode), wanted.get(port), guard)) for port, guard in guards]
        )


def _modes(guards: Guards) -> Mapping[int, TlsMode]:
    return {port: guard.mode for port, guard in guards}


def _meanwhile(told: TlsMode, wanted: TlsMode | None, guard: Guard) -> Guard:
    """Between two modes of which one is DISABLE, both plaintext and TLS are taken, and as long as callers may be anywhere."""
    on_the_way = wanted is not None and told is not wanted
    if on_the_way or (told is not guard.mode and TlsMode.DISABLE in (told, guard.mode)):
        return msgspec.structs.replace(guard, mode=TlsMode.PERMISSIVE)
    return guard
