from __future__ import annotations

import pytest

from weft.xds.status import NodeStatus, SyncState, TypeStatus


def status(*states: SyncState) -> NodeStatus:
    types = tuple(
        TypeStatus(
            type_url=str(number), state=state, seconds=0, held=0, subscribed=0, wildcard=True, withheld=0, refusals=()
        )
        for number, state in enumerate(states)
    )
    return NodeStatus(
        node="n", connected=True, seconds=0, streams=1, offered_revision=1, acknowledged_revision=1, types=types
    )


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        ((), SyncState.SYNCED),
        ((SyncState.SYNCED, SyncState.SENDING), SyncState.SENDING),
        ((SyncState.STALE, SyncState.SENDING), SyncState.STALE),
        ((SyncState.REFUSED, SyncState.STALE), SyncState.REFUSED),
    ],
)
def test_a_proxy_is_as_far_as_its_worst_type(states: tuple[SyncState, ...], worst: SyncState) -> None:
    assert status(*states).state is worst
