"""The authority's memory on the disk: one file, replaced as a whole, so that there is always exactly one version of it.

Whoever is killed at any byte leaves either the old or the new (``weft.private``, docs/decisions/0062). The checksum is
against disks, not against people: whoever can write here can read the keys too.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from weft import private
from weft.identity.keys import read_private, unwritable
from weft.identity.problems import TrustError, problem
from weft.identity.state import VERSION, Journal, State

if TYPE_CHECKING:
    from pathlib import Path

    from weft.errors import Problem

NAME: Final = "journal.json"


class _File(msgspec.Struct, frozen=True):
    sha256: str
    journal: msgspec.Raw


def write(directory: Path, journal: Journal) -> None:
    """On the disk when this returns. Raises ``TrustError``: the old one holds then."""
    content = msgspec.json.encode(journal)
    data = msgspec.json.encode(_File(hashlib.sha256(content).hexdigest(), msgspec.Raw(content)))
    try:
        private.replace(directory / NAME, data)
    except OSError as error:
        raise TrustError(unwritable(directory / NAME, error)) from error


def read(directory: Path) -> Journal:
    """Raises ``TrustError`` when there is none, or it is damaged: nothing is made anew in its place."""
    path = directory / NAME
    if not path.exists():
        raise TrustError(_damaged(path, "it is missing"))
    data = read_private(path, limit_bytes=MAX_BYTES)
    try:
        file = msgspec.json.decode(data, type=_File)
        if hashlib.sha256(file.journal).hexdigest() != file.sha256:
            raise TrustError(_damaged(path, "its checksum is wrong"))
        journal = msgspec.json.decode(file.journal, type=Journal)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TrustError(_damaged(path, str(error))) from error
    if journal.version > VERSION:
        message = f"it was written by a newer weft (version {journal.version})"
        raise TrustError(problem("WFT-1803", message, "Use that weft again", path))
    if sum(each.state is State.ACTIVE for each in journal.authorities) != 1:
        raise TrustError(_damaged(path, "it has not exactly one active authority"))
    return journal


MAX_BYTES: Final = 64 * 1024 * 1024


def _damaged(path: Path, why: str) -> Problem:
    remedy = f"Bring {path.parent.name}/ back from a backup; or move it away, and every host gets a new authority"
    return problem("WFT-1803", f"the authority's journal is damaged: {why}", remedy, path)
