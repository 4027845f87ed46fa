from __future__ import annotations

import pytest

from weft.identity import inventory
from weft.identity.inventory import Issued
from weft.identity.problems import problem
from weft.identity.reports import Reports
from weft.identity.wire import HostTrust, ProxyTrust, SvidAnswer

DAY = 86400


def answer(node: str, not_after: int = DAY) -> SvidAnswer:
    return SvidAnswer(node, "spiffe://local/x", (b"der",), not_after, "aaaaaa")


def test_what_a_node_reports_counts_more_than_what_it_was_given() -> None:
    issued, reports = Issued(), Reports()
    issued.note("hosta", (answer("a"), answer("b"), SvidAnswer("c", problem=problem("WFT-1805", "no", "no", "c"))), 0)
    reports.put("hosta", HostTrust({"b": ProxyTrust("spiffe://local/x", 7, "bbbbbb", 2 * DAY)}), 0)
    found = issued.holders(reports, 0)
    assert [(each.node, each.authority, each.sequence, each.state) for each in found] == [
        ("a", "aaaaaa", 0, "valid"),
        ("b", "bbbbbb", 7, "valid"),
    ]
    assert issued.nodes() == {("hosta", "a"), ("hosta", "b")}


@pytest.mark.parametrize(("now", "state"), [(0, "valid"), (DAY - 3600, "ending"), (DAY, "ended")])
def test_an_svid_that_was_not_renewed_is_noticed(now: int, state: str) -> None:
    assert inventory.state(DAY, now) == state


def test_what_was_given_and_has_ended_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MAX_NODES", 1)
    issued = Issued()
    issued.note("hosta", (answer("a", 10),), 0)
    assert issued.holders(Reports(), 20) == ()
    issued.note("hosta", (answer("b", 100),), 20)
    assert issued.nodes() == {("hosta", "b")}
