from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.stores import ALICE, document, open_store, record
from weft.errors import Problem
from weft.sources.records import Applied, Outcome, Verb
from weft.values import Origin, Ref

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_record_gives_its_document_with_the_places_of_what_was_written(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    written = document(
        "# first line\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n    - port: 80\n",
        "shop.yaml",
    )
    applied = await store.apply(ALICE, [written])
    found = record(applied.outcomes[0]).as_document
    assert found.place("spec.ports[0].port") == Origin("shop.yaml", 7, 13)
    assert found.data["spec"] == {"ports": [{"port": 80}]}
    await store.close()


def test_the_problems_of_a_batch_are_those_of_all_its_outcomes() -> None:
    one, other = (Problem(code=code, message="m", remedy="r", origin=Origin("x")) for code in ("WFT-1505", "WFT-1506"))
    ref = Ref("", "Service", "default", "a")
    applied = Applied((Outcome(ref, Verb.REFUSED, None, (one,)), Outcome(ref, Verb.REFUSED, None, (other,))), 0)
    assert applied.problems == (one, other)
