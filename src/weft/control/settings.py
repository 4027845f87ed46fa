"""What a control plane is told when it starts. Every field mirrors a ``WEFT_*`` variable (ARCHITECTURE.md)."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from weft.paths import Paths, locate

if TYPE_CHECKING:
    from collections.abc import Mapping


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """``files`` (``WEFT_FILES``, separated by ``:``) are watched, folders too.

    ``listen`` (``WEFT_LISTEN``) is ``host:port`` of the API on loopback TCP, with a bearer token in ``<state>/api-token``;
    empty: the unix socket only.
    """

    paths: Paths
    files: tuple[Path, ...] = ()
    listen: str = ""
    host: str = ""
    """The host that this runs on (``WEFT_HOST``, or the machine's name): what is placed on no other runs here."""
    address: str = ""
    """Where other hosts reach this one (``WEFT_ADDRESS``); empty: there is no door."""
    bundle_listen: str = ""
    """``address:port`` of the bundle endpoint for other trust domains (``WEFT_BUNDLE_LISTEN``); empty: there is none."""
    bundle_certificate: Path | None = None
    bundle_key: Path | None = None
    """PEM of an ``https_web`` endpoint (``WEFT_BUNDLE_CERT``, ``WEFT_BUNDLE_KEY``); without them it is ``https_spiffe``."""


def from_environ(environ: Mapping[str, str], uid: int) -> Settings:
    files = [Path(name) for name in environ.get("WEFT_FILES", "").split(os.pathsep) if name]
    return Settings(
        paths=locate(environ, uid),
        files=tuple(files),
        listen=environ.get("WEFT_LISTEN", ""),
        host=environ.get("WEFT_HOST") or socket.gethostname(),
        address=environ.get("WEFT_ADDRESS", ""),
        bundle_listen=environ.get("WEFT_BUNDLE_LISTEN", ""),
        bundle_certificate=_path(environ.get("WEFT_BUNDLE_CERT", "")),
        bundle_key=_path(environ.get("WEFT_BUNDLE_KEY", "")),
    )


def _path(text: str) -> Path | None:
    return Path(text) if text else None
