"""The authority's directory: opened, or made on the first start, as a whole or not at all.

A new authority is made in a directory beside, which takes its name when everything in it is on the disk. So a directory
of that name without a journal is a damaged one, and is never filled anew.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from weft import private
from weft.identity import authority, journal
from weft.identity.keys import DiskKeys, KeyManager, unwritable
from weft.identity.problems import TrustError
from weft.identity.state import Event, Journal, State
from weft.paths import private_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from weft.identity.state import Authority

DEFAULT_DOMAIN: Final = "local"


class Opened(msgspec.Struct, frozen=True, eq=False):
    """An authority at rest: where it is, its keys, what it remembers."""

    directory: Path
    keys: KeyManager
    journal: Journal


def exists(directory: Path) -> bool:
    return directory.is_dir() and not directory.is_symlink() and any(directory.iterdir())


def opened(directory: Path, now: datetime) -> Opened:
    """The authority in ``directory``; on the first start a new one of the trust domain ``local``. Raises ``TrustError``."""
    if problem := private_directory(directory):
        raise TrustError(problem)
    if not exists(directory):
        begin(directory, DEFAULT_DOMAIN, now, lambda keys: authority.make(DEFAULT_DOMAIN, keys, now), "weft-control")
    for inside in (directory / "keys",):
        if problem := private_directory(inside):
            raise TrustError(problem)
    found = Opened(directory, DiskKeys(directory / "keys"), journal.read(directory))
    tidy(found)
    return found


def begin(
    directory: Path, trust_domain: str, now: datetime, make: Callable[[KeyManager], Authority], who: str
) -> Journal:
    """A new authority in ``directory``, which is empty or does not exist. Raises ``TrustError``."""
    aside = directory.with_name(f".{directory.name}.new")
    try:
        with suppress(FileNotFoundError):
            shutil.rmtree(aside)
        aside.mkdir(mode=0o700, parents=True)
        (aside / "keys").mkdir(mode=0o700)
        made = msgspec.structs.replace(make(DiskKeys(aside / "keys")), state=State.ACTIVE, published=1)
        event = Event(int(now.timestamp()), "began", made.id, who)
        begun = Journal(trust_domain=trust_domain, authorities=(made,), events=(event,))
        journal.write(aside, begun)
        os.rename(aside, directory)  # noqa: PTH104 - rename(2) replaces an empty directory and refuses a full one
        private.sync_directory(directory.parent)
    except OSError as error:
        raise TrustError(unwritable(directory, error)) from error
    return begun


def tidy(found: Opened) -> None:
    """Delete keys that a step left behind when it was cut short: of authorities that are known, and need them no more."""
    known = {each.id for each in found.journal.authorities}
    needed = {name for each in found.journal.trusted for name in each.keys}
    for name in found.keys.names():
        if name.partition("-")[0] in known and name not in needed:
            found.keys.delete(name)
