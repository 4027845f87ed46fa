"""A random history of writes: the store agrees with a dictionary, before and after a restart, and can go back anywhere."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stores import ALICE, BOB, open_store, route, route_ref
from weft.sources.records import Applied, Verb

if TYPE_CHECKING:
    from weft.sources.store import Store

NAMES = st.sampled_from(["a", "b", "c"])
SPECS = st.dictionaries(st.sampled_from(["x", "y", "z"]), st.integers(0, 2), max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), st.dictionaries(NAMES, SPECS, max_size=3), st.booleans()),
        st.tuples(st.just("edit"), NAMES, SPECS),
        st.tuples(st.just("delete"), NAMES, st.none()),
        st.tuples(st.just("rollback"), st.integers(0, 30), st.none()),
        st.tuples(st.just("restart"), st.none(), st.none()),
    ),
    max_size=12,
)


def state(store: Store) -> dict[str, Any]:
    found = {record.ref.name: json.loads(record.document) for record in store.records}
    return {name: {**data.get("spec", {}), "labels": data["metadata"].get("labels")} for name, data in found.items()}


async def follow(directory: Path, steps: list[tuple[str, Any, Any]]) -> None:
    store = await open_store(directory)
    past = {0: state(store)}
    for kind, what, how in steps:
        before = store.revision
        if kind == "apply":
            await store.apply(ALICE, [route(name, **spec) for name, spec in what.items()], prune=how)
            if how:
                assert set(what) <= set(state(store))
            assert all(spec.items() <= state(store)[name].items() for name, spec in what.items())
        elif kind == "edit":
            outcome = await store.replace(BOB, route(what, **how))
            assert (outcome.verb is Verb.REFUSED) == (what not in past[before])
        elif kind == "delete":
            await store.delete(BOB, route_ref(what))
            assert what not in state(store)
        elif kind == "rollback" and what in past:
            assert isinstance(await store.rollback(BOB, what), Applied)
            assert state(store) == past[what]
        elif kind == "restart":
            world = store.publisher.latest.value
            await store.close()
            store = await open_store(directory)
            assert store.publisher.latest.value == world
        past[store.revision] = state(store)
        assert store.revision >= before
        assert [record.ref for record in store.records] == sorted(record.ref for record in store.records)
    changes = await store.history(limit=1000)
    assert [change.revision for change in changes] == list(range(store.revision, 0, -1))
    await store.close()


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_history_of_writes_is_kept_in_order_and_can_be_undone(steps: list[tuple[str, Any, Any]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        anyio.run(follow, Path(directory), steps)
