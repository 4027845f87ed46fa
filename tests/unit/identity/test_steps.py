from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.support.trust import Rig
from weft.identity import steps
from weft.identity.problems import TrustError
from weft.identity.state import Journal, State

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def begun(tmp_path: Path) -> Journal:
    return Rig(tmp_path).service.journal


def with_next(journal: Journal, name: str = "next") -> Journal:
    made = msgspec.structs.replace(journal.active, id=name, state=State.PREPARED, published=0, retired=0)
    return steps.prepared(journal, made, 10, "ann")


def states(journal: Journal) -> list[str]:
    return [each.state.value for each in journal.authorities]


def test_a_whole_life_is_written_down(begun: Journal) -> None:
    old = begun.active.id
    journal = with_next(begun)
    assert states(journal) == ["active", "prepared"]
    journal = steps.activated(journal, "next", 20, "ann")
    assert states(journal) == ["prepared", "active"]
    assert [each.retired for each in journal.authorities] == [20, 0]
    journal = steps.tainted(journal, old, 30, "ben")
    journal = steps.revoked(journal, old, 40, "ben", "--force")
    assert states(journal) == ["revoked", "active"]
    assert [(each.time, each.what, each.who, each.why) for each in journal.events[1:]] == [
        (10, "prepared", "ann", ""),
        (20, "activated", "ann", ""),
        (30, "tainted", "ben", ""),
        (40, "revoked", "ben", "--force"),
    ]


def test_an_activation_can_be_turned_back(begun: Journal) -> None:
    journal = steps.activated(with_next(begun), "next", 20, "ann")
    journal = steps.activated(journal, begun.active.id, 30, "ann")
    assert journal.active.id == begun.active.id
    assert journal.active.retired == 0


@pytest.mark.parametrize(
    ("step", "state", "why"),
    [
        ("activated", State.ACTIVE, "not prepared"),
        ("activated", State.TAINTED, "not prepared"),
        ("activated", State.REVOKED, "not prepared"),
        ("tainted", State.ACTIVE, "the one that signs"),
        ("tainted", State.TAINTED, "tainted already"),
        ("tainted", State.REVOKED, "revoked already"),
        ("revoked", State.ACTIVE, "not tainted"),
        ("revoked", State.PREPARED, "not tainted"),
        ("revoked", State.REVOKED, "not tainted"),
    ],
)
def test_no_step_follows_another_out_of_order(begun: Journal, step: str, state: State, why: str) -> None:
    other = msgspec.structs.replace(begun.active, id="other", state=state)
    journal = begun.with_authority(other)
    with pytest.raises(TrustError) as refused:
        getattr(steps, step)(journal, "other", 10, "ann")
    assert refused.value.problems[0].code == "WFT-1809"
    assert why in str(refused.value)


def test_only_one_waits_to_be_activated(begun: Journal) -> None:
    with pytest.raises(TrustError) as refused:
        with_next(with_next(begun), "third")
    assert "next is prepared already" in str(refused.value)
    assert str(refused.value.problems[0].origin) == "authority next"


def test_an_unknown_authority_is_answered_with_those_that_are(begun: Journal) -> None:
    with pytest.raises(TrustError) as refused:
        steps.tainted(begun, "nobody", 1, "ann")
    assert begun.active.id in refused.value.problems[0].remedy


def test_a_command_without_a_name_means_the_only_one_that_it_can(begun: Journal) -> None:
    old = begun.active.id
    with pytest.raises(TrustError):
        steps.only(begun, State.PREPARED)
    with pytest.raises(TrustError):
        steps.retired_one(begun)
    journal = steps.activated(with_next(begun), "next", 20, "ann")
    assert steps.only(journal, State.PREPARED) == old
    assert steps.retired_one(journal) == old
    three = with_next(journal, "third")
    assert steps.only(three, State.PREPARED) == "third"
    four = three.with_authority(msgspec.structs.replace(journal.active, id="x", state=State.PREPARED, retired=5))
    with pytest.raises(TrustError) as refused:
        steps.retired_one(four)
    assert "2 authorities signed before" in str(refused.value)
