"""What a control plane is told when it starts."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """``state`` and ``runtime`` are directories of mode 0700 (see ARCHITECTURE.md); ``files`` are watched, folders too.

    ``listen`` is ``host:port`` of the API on loopback TCP, with a bearer token in ``<state>/api-token``; empty: none.
    """

    state: Path
    runtime: Path
    files: tuple[Path, ...] = ()
    listen: str = ""

    @property
    def api_socket(self) -> Path:
        return self.runtime / "control.sock"

    @property
    def xds_socket(self) -> Path:
        return self.runtime / "xds.sock"
