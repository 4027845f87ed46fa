"""The users that applications run as (``user`` in the Mesh kind)."""

from __future__ import annotations

import os
import pwd

import msgspec

LARGEST: int = 2**32 - 2
"""The number after it means nobody in particular. Source: setreuid(2)."""


class Account(msgspec.Struct, frozen=True):
    """``gid`` is the user's own group; it gets no others. A number without an entry has itself as its group."""

    uid: int
    gid: int
    name: str = ""
    home: str = "/"

    @property
    def environment(self) -> dict[str, str]:
        """As systemd sets it."""
        known = {"USER": self.name, "LOGNAME": self.name} if self.name else {}
        return {"HOME": self.home} | known


def find(user: str) -> Account | None:
    """By name or number; None for a name that nobody has here."""
    number = int(user) if user.isascii() and user.isdigit() and len(user) <= 10 else -1
    try:
        entry = pwd.getpwuid(number) if 0 <= number <= LARGEST else pwd.getpwnam(user)
    except KeyError:
        return Account(number, number) if 0 <= number <= LARGEST else None
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name, entry.pw_dir)


def refusal(user: str) -> str:
    """Why nothing can run as this user here; empty when it can."""
    if not user:
        return ""
    found = find(user)
    if found is None:
        return f"WFT-1841: there is no user {user} on this host; write one that is there, or a number"
    if os.geteuid() not in (0, found.uid):
        return f"WFT-1840: only root may run applications as user {user}; start the agent as root, or remove user"
    return ""


def to_become(user: str) -> Account | None:
    """Whom to change into; None to stay who the agent is."""
    found = find(user) if user else None
    return found if found and os.geteuid() == 0 else None
