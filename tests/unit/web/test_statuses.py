from __future__ import annotations

from tests.support.engine import FakeEngine
from weft.model.status import Condition, ListenerStatus, ParentRef, ParentStatus, Status
from weft.values import Ref
from weft.web.statuses import Statuses

REF = Ref("", "Gateway", "shop", "edge")


def said(accepted: str, programmed: str, generation: int = 1) -> Status:
    conditions = (Condition("Accepted", accepted, "R"), Condition("Programmed", programmed, "R"))
    return Status(
        REF,
        generation,
        conditions,
        (ListenerStatus("http", (), 0, conditions),),
        (ParentStatus(ParentRef("edge"), conditions),),
    )


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    engine, times = FakeEngine(), iter(["t1", "t2", "t3"])
    statuses = Statuses(engine, lambda: next(times))
    assert statuses.view()(REF) is None
    engine.status[REF] = said("True", "False")
    first = statuses.view()(REF)
    assert statuses.view()(REF) is first
    engine.status[REF] = said("True", "True", 2)
    second = statuses.view()(REF)
    assert second is not None
    for part in (second, second["listeners"][0], second["parents"][0]):
        assert [condition["lastTransitionTime"] for condition in part["conditions"]] == ["t1", "t2"]
    del engine.status[REF]
    assert statuses.view()(REF) is None
