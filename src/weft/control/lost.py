"""A store that is gone while proxies run is lost, not new: what it said cannot be known, so nothing is taken away.

An empty store would compile to an empty mesh, and every proxy would be told so. Whoever wants to begin anew ends the
proxies first (``weft down``); then there is nothing that a new store could take away from (promise A3).
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from weft.errors import Problem
from weft.sources.database import FILE
from weft.values import Origin

if TYPE_CHECKING:
    from pathlib import Path

    from weft.paths import Paths


def lost(paths: Paths) -> Problem | None:
    """Why a new store must not be made here; None when there is one, or when no proxy runs."""
    file = paths.state / FILE
    if file.exists():
        return None
    count = sum(_listens(path) for path in sorted(paths.runtime.glob("p/*/admin.sock")))
    if not count:
        return None
    return Problem(
        code="WFT-1521",
        message=f"the store is gone while {count} proxies run by what it said",
        remedy="Bring weft.db back, or begin anew: weft down, then weft up",
        origin=Origin(str(file)),
    )


def _listens(path: Path) -> bool:
    """Whether a process still accepts connections there; a socket's file outlives its process."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True
