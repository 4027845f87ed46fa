"""The pure stages in a row, with the memos that belong to them: ``World`` in, a mesh and every proxy's resources out.

For a large mesh it runs in a worker thread, so that the event loop is not kept from its streams; never in two at a time.
After every change of the world all of it runs again; what is equal is found in the memos. A change of demand alone asks for
the views of those proxies only, and ends no generation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.api.decode import Decoded, decode
from weft.dialects.compile import compile_world
from weft.dialects.values import Compiled, Input
from weft.envoy.build import Built, build
from weft.memo import Memo
from weft.model.viewing import view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.model.mesh import Mesh
    from weft.model.view import Demand
    from weft.sources.records import Record, World


def decode_record(record: Record) -> Decoded:
    """A stored object, typed. Its problems point into the text that its writer wrote."""
    return decode(record.as_document)


class Pipeline:
    """One per control plane. Not for two threads at once."""

    def __init__(self) -> None:
        self._decoding = Memo()
        self._compiling = Memo()
        self._viewing = Memo()
        self._building = Memo()

    def compile(self, world: World) -> Compiled:
        """The mesh of ``world``, and the problems of every object in it."""
        compiled = self.preview(world)
        self._decoding.turn()
        self._compiling.turn()
        return compiled

    def preview(self, world: World) -> Compiled:
        """As ``compile``, for a world that may never be: what is remembered stays as it is."""
        objects = tuple([self._decoding(decode_record, record) for record in world.records])
        return compile_world(Input(objects, world.hosts, world.trust, world.keys), self._compiling)

    def build(self, mesh: Mesh, demands: Mapping[str, Demand]) -> dict[str, Built]:
        """The resources of every proxy of ``demands`` that an agent registered; all others are left as they are."""
        views = {node: view(mesh, node, demand, self._viewing) for node, demand in demands.items()}
        return {node: build(seen, self._building) for node, seen in views.items() if seen is not None}

    def forget(self) -> None:
        """What nothing was built of since the last time. To be said when every connected proxy's resources were built."""
        self._viewing.turn()
        self._building.turn()
