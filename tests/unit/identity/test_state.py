from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tests.support.trust import Rig
from weft.identity.state import MAX_EVENTS, Event, State

if TYPE_CHECKING:
    from pathlib import Path


def test_an_authority_takes_its_own_place_and_a_new_one_comes_last(tmp_path: Path) -> None:
    journal = Rig(tmp_path).service.journal
    other = msgspec.structs.replace(journal.active, id="other", state=State.PREPARED)
    longer = journal.with_authority(other)
    assert [each.id for each in longer.authorities] == [journal.active.id, "other"]
    gone = longer.with_authority(msgspec.structs.replace(other, state=State.REVOKED))
    assert [each.state for each in gone.authorities] == [State.ACTIVE, State.REVOKED]
    assert gone.trusted == (journal.active,)
    assert gone.find("none") is None


def test_the_oldest_events_are_forgotten(tmp_path: Path) -> None:
    journal = Rig(tmp_path).service.journal
    for number in range(MAX_EVENTS + 5):
        journal = journal.with_event(Event(number, "x", "a", "b"))
    assert len(journal.events) == MAX_EVENTS
    assert journal.events[-1].time == MAX_EVENTS + 4
