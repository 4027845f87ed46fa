"""Who stands behind a connection that is open already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.trust import PAY_ID, Rig, shown, signed
from weft.identity import standing, verify
from weft.identity.rotation import Word
from weft.identity.standing import Standing

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

FORCE = Word(who="root", force=True)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "trust")


def standing_of(rig: Rig) -> Standing:
    return Standing(lambda: rig.service.bundles()[0].x509, rig.clock)


def test_a_certificate_of_the_authority_holds_until_it_ends(rig: Rig) -> None:
    found, header = standing_of(rig), shown(PAY_ID, signed(rig, PAY_ID))
    assert found.peer(header) == PAY_ID
    rig.clock.advance(23 * 3600)
    assert found.peer(header) == PAY_ID
    rig.clock.advance(3601)
    assert found.peer(header) == ""
    assert standing_of(rig).peer(header) == ""


def test_what_is_no_header_of_the_door_is_nobody(rig: Rig, tmp_path: Path) -> None:
    found, other = standing_of(rig), Rig(tmp_path / "other")
    chain = signed(rig, PAY_ID)
    assert found.peer("") == ""
    assert found.peer(f"Hash=1;URI={PAY_ID}") == ""
    assert found.peer(shown("spiffe://local/weft/control", chain)) == "", "the chain is of somebody else"
    assert found.peer(shown(PAY_ID, chain[:1])) == "", "a part of the chain is missing"
    assert found.peer(shown(PAY_ID, signed(other, PAY_ID))) == "", "the root is another"


async def test_it_holds_through_a_rotation_until_its_authority_is_revoked(rig: Rig) -> None:
    found, header = standing_of(rig), shown(PAY_ID, signed(rig, PAY_ID))
    old, steps = rig.service.journal.active.id, rig.service.steps
    assert found.peer(header) == PAY_ID
    await steps.activate(await steps.prepare(FORCE), FORCE)
    fresh = shown(PAY_ID, signed(rig, PAY_ID))
    await steps.taint(old, FORCE)
    assert (found.peer(header), found.peer(fresh)) == (PAY_ID, PAY_ID)
    await steps.revoke(old, FORCE)
    assert (found.peer(header), found.peer(fresh)) == ("", PAY_ID)


def test_a_chain_is_checked_once_and_the_oldest_are_forgotten(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "MOST", 2)
    checked: list[str] = []
    real = verify.svid

    def counted(chain: tuple[bytes, ...], roots: tuple[bytes, ...], spiffe_id: str, now: object) -> str:
        checked.append(spiffe_id)
        return real(chain, roots, spiffe_id, now)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(verify, "svid", counted)
    found = standing_of(rig)
    headers = [shown(f"{PAY_ID}-{number}", signed(rig, f"{PAY_ID}-{number}")) for number in range(3)]
    for header in (headers[0], headers[0], headers[1], headers[2], headers[2], headers[0]):
        assert found.peer(header)
    assert checked == [f"{PAY_ID}-{number}" for number in (0, 1, 2, 0)]
