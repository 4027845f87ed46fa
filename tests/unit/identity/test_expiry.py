from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.support.trust import Rig
from weft.errors import Severity
from weft.identity import expiry
from weft.identity.state import State

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("days", "severity", "text"),
    [
        (2700, None, ""),
        (2740, Severity.WARNING, "ends in 910 days"),
        (3290, Severity.ERROR, "ends in 360 days"),
        (3649, Severity.ERROR, "ends in 24 hours"),
        (3651, Severity.ERROR, "has ended"),
    ],
)
def test_a_root_is_spoken_of_at_three_quarters_and_urgently_at_nine_tenths(
    tmp_path: Path, days: int, severity: Severity | None, text: str
) -> None:
    rig = Rig(tmp_path)
    journal = rig.service.journal
    now = (rig.clock() + timedelta(days=days)).timestamp()
    found = [each for each in expiry.warnings(journal, now) if "root" in each.message]
    assert [each.severity for each in found] == ([severity] if severity else [])
    assert all(text in each.message and each.code == "WFT-1816" for each in found)


def test_what_renews_by_itself_is_not_spoken_of(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    now = (rig.clock() + timedelta(days=360)).timestamp()
    assert expiry.warnings(rig.service.journal, now) == ()
    fixed = msgspec.structs.replace(rig.service.journal.active, upstream_key="")
    (found,) = expiry.warnings(rig.service.journal.with_authority(fixed), now)
    assert "the issuing certificate" in found.message


def test_a_revoked_authority_may_end(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    gone = msgspec.structs.replace(rig.service.journal.active, state=State.REVOKED)
    assert expiry.warnings(rig.service.journal.with_authority(gone), datetime(2100, 1, 1, tzinfo=UTC).timestamp()) == ()
