"""What a control plane is told when it starts."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """``state`` and ``runtime`` are directories of mode 0700 (see ARCHITECTURE.md); ``files`` are files and folders to watch.

    ``listen`` is ``host:port`` of the API on TCP, loopback only, with the token of ``<state>/api-token``; empty: unix socket only.
    ``confirm_removal`` lets this start remove most of a proxy's resources at once (the mass-removal guard).
    """

    state: Path
    runtime: Path
    files: tuple[Path, ...] = ()
    listen: str = ""
    confirm_removal: bool = False

    @property
    def database(self) -> Path:
        return self.state / "weft.db"

    @property
    def api_socket(self) -> Path:
        return self.runtime / "control.sock"

    @property
    def xds_socket(self) -> Path:
        return self.runtime / "xds.sock"
