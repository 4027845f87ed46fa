"""The steps of an authority's life, as functions from one journal to the next. What may follow what: ``state``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.errors import nearest
from weft.identity.problems import TrustError, problem
from weft.identity.state import Event, State

if TYPE_CHECKING:
    from weft.errors import Problem
    from weft.identity.state import Authority, Journal


def prepared(journal: Journal, made: Authority, now: int, who: str) -> Journal:
    """``made`` is in the bundle, and signs nothing yet. One at a time: raises ``TrustError`` when another waits."""
    waiting = [each.id for each in journal.authorities if each.state is State.PREPARED and not each.retired]
    if waiting:
        remedy = f"Activate it, or give it up: weft trust taint {waiting[0]}, then weft trust revoke {waiting[0]}"
        raise TrustError(refused(f"authority {waiting[0]} is prepared already", remedy, waiting[0]))
    return journal.with_authority(made).with_event(Event(now, "prepared", made.id, who))


def activated(journal: Journal, authority: str, now: int, who: str, why: str = "") -> Journal:
    """``authority`` signs from now on; the one before stays in the bundle, prepared."""
    found = named(journal, authority)
    if found.state is not State.PREPARED:
        raise TrustError(refused(f"authority {found.id} is {found.state.value}, not prepared", PREPARE, found.id))
    before = msgspec.structs.replace(journal.active, state=State.PREPARED, retired=now)
    after = msgspec.structs.replace(found, state=State.ACTIVE, retired=0)
    return journal.with_authority(before).with_authority(after).with_event(Event(now, "activated", found.id, who, why))


def tainted(journal: Journal, authority: str, now: int, who: str) -> Journal:
    """Nobody shall hold an SVID of it any more; it is in the bundle until it is revoked."""
    found = named(journal, authority)
    if found.state is State.ACTIVE:
        remedy = "Activate another first: weft trust prepare, then weft trust activate"
        raise TrustError(refused(f"authority {found.id} is the one that signs", remedy, found.id))
    if found.state is not State.PREPARED:
        raise TrustError(refused(f"authority {found.id} is {found.state.value} already", STATUS, found.id))
    after = msgspec.structs.replace(found, state=State.TAINTED, retired=found.retired or now)
    return journal.with_authority(after).with_event(Event(now, "tainted", found.id, who))


def revoked(journal: Journal, authority: str, now: int, who: str, why: str = "") -> Journal:
    """Out of the bundle: what it signed is refused wherever the bundle comes. Its keys are the caller's to delete."""
    found = named(journal, authority)
    if found.state is not State.TAINTED:
        remedy = f"Taint it first, so that everybody gets another SVID: weft trust taint {found.id}"
        raise TrustError(refused(f"authority {found.id} is {found.state.value}, not tainted", remedy, found.id))
    after = msgspec.structs.replace(found, state=State.REVOKED)
    return journal.with_authority(after).with_event(Event(now, "revoked", found.id, who, why))


PREPARE = "Prepare one: weft trust prepare"
STATUS = "Look at: weft trust status"


def named(journal: Journal, authority: str) -> Authority:
    """Raises ``TrustError`` with the nearest names."""
    found = journal.find(authority)
    if found is None:
        known = [each.id for each in journal.authorities]
        near = nearest(authority, known) or tuple(known)
        raise TrustError(refused(f"there is no authority {authority[:40]!r}", f"There is {', '.join(near)}", authority))
    return found


def only(journal: Journal, state: State) -> str:
    """The one authority in a state, for commands that name none. Raises ``TrustError``."""
    found = [each.id for each in journal.authorities if each.state is state]
    if state is State.PREPARED and len(found) > 1:
        # the one that never signed is the one that is meant to
        found = [each.id for each in journal.authorities if each.state is state and not each.retired] or found
    if len(found) == 1:
        return found[0]
    message = f"{len(found)} authorities are {state.value}" if found else f"no authority is {state.value}"
    raise TrustError(refused(message, f"Name one of {', '.join(found)}" if found else PREPARE, journal.trust_domain))


def retired_one(journal: Journal) -> str:
    """The authority that signed before, to be tainted. Raises ``TrustError``."""
    found = [each.id for each in journal.authorities if each.state is State.PREPARED and each.retired]
    if len(found) == 1:
        return found[0]
    message = f"{len(found)} authorities signed before" if found else "no authority signed before the active one"
    remedy = f"Name one of {', '.join(found)}" if found else STATUS
    raise TrustError(refused(message, remedy, journal.trust_domain))


def refused(message: str, remedy: str, place: str) -> Problem:
    return problem("WFT-1809", message, remedy, f"authority {place}")
