from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.trust import HOST, PAY, Rig, mesh, process, request, workload
from weft.control import trust_metrics
from weft.identity.rotation import Word

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def values(rig: Rig) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in trust_metrics.families(rig.service)
        for sample in family.samples
    }


async def test_requests_holders_lives_and_blockers_are_counted(tmp_path: Path) -> None:
    rig = Rig(tmp_path, found=mesh(process(), workloads=(workload(),)))
    name = rig.service.journal.active.id
    await rig.service.sign(HOST, (request(), request("sidecar/a/b")), local=True)
    await rig.service.steps.rotate(Word(who="ann"))
    rig.clock.advance(3650 * 86400 / 2)
    rig.reports(1, name, PAY)
    found = values(rig)
    assert found["weft_svids_total", "signed"] == 1
    assert found["weft_svids_total", "refused"] == 1
    assert found["weft_svid_holders", "ending"] == 1
    assert found["weft_trust_sequence",] == 2
    assert found["weft_rotation_blockers",] == 1
    assert found["weft_authority_life_used_ratio", name, "root"] == pytest.approx(0.5, abs=0.001)
    assert ("weft_authority_end_timestamp_seconds", name, "issuing", "active") in found
    assert len({key[1] for key in found if key[0] == "weft_authority_life_used_ratio"}) == 2


async def test_before_the_mesh_is_known_nobody_is_said_to_block(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    await rig.service.steps.rotate(Word(who="ann"))
    rig.mesh = None
    assert ("weft_rotation_blockers",) not in values(rig)
