from __future__ import annotations

import msgspec

from tests.support.trust import PAY, mesh, workload
from weft.identity.reports import UNDER_WAY_SECONDS, Blocker, Reports, live
from weft.identity.wire import HostTrust, ProxyTrust
from weft.model.service import Capture, Placement, Workload

HELD = ProxyTrust("spiffe://local/x", 3, "aaaaaa", 1000)


def edge(host: str) -> Workload:
    return Workload(namespace="weft-system", name=host, host=host, placement=Placement.EGRESS)


def test_the_newest_report_of_a_host_replaces_the_one_before() -> None:
    reports = Reports()
    assert reports.put("a", HostTrust({"x": HELD, "y": HELD}), 1)
    assert not reports.put("a", HostTrust({"x": HELD, "y": HELD}), 2)
    assert reports.put("a", HostTrust({"y": HELD}), 3)
    assert [(host, node) for host, node, _ in reports.held()] == [("a", "y")]
    heard = reports.heard("a")
    assert heard is not None
    assert heard.time == 3
    reports.forget("a")
    assert reports.heard("a") is None


def test_live_is_every_proxy_and_every_agent_that_has_an_svid() -> None:
    reports = Reports()
    reports.put("hostb", HostTrust({"host/hostb": HELD, "host/hostc": HELD}), 1)
    found = mesh(
        workloads=(workload(), workload("job-v1-0", capture=Capture.NONE), edge("hosta"), edge("hostb"), edge("hostd"))
    )
    assert live(found, reports, {("hosta", "sidecar/shop/old"), ("hostd", "host/hostd")}) == {
        ("hosta", PAY),
        ("hosta", "egress/weft-system/hosta"),
        ("hostb", "egress/weft-system/hostb"),
        ("hostb", "host/hostb"),
        ("hostd", "egress/weft-system/hostd"),
        ("hostd", "host/hostd"),
    }


def test_whoever_is_silent_lacks_everything_and_says_for_how_long() -> None:
    reports = Reports()
    reports.put("hosta", HostTrust({"y": HELD}), 100)
    nodes = [("hosta", "x"), ("hosta", "y"), ("hostb", "z")]
    found = reports.missing(nodes, lambda held: "" if held.sequence >= 3 else "old", (), 160)
    assert found == (
        Blocker("x", "hosta", "its agent, last heard of 60 s ago, does not report it"),
        Blocker("z", "hostb", "its agent has not reported since the control plane started"),
    )
    assert [each.why for each in reports.missing(nodes[1:2], lambda _: "old", (), 160)] == ["old"]


def test_nobody_waits_for_who_is_banned() -> None:
    reports = Reports()
    reports.put("hosta", HostTrust({"y": HELD}), 100)
    assert reports.missing([("hosta", "y")], lambda _: "old", (HELD.spiffe_id,), 100) == ()


def test_who_took_other_secrets_may_be_agreeing_with_the_ones_before_for_as_long_as_a_connection_may_take() -> None:
    reports, nodes = Reports(), [("hosta", "y")]
    more, signed = (msgspec.structs.replace(HELD, sequence=4), msgspec.structs.replace(HELD, authority="bbbbbb"))
    for now, held in ((100, HELD), (200, more), (300, signed)):
        reports.put("hosta", HostTrust({"y": held}), now)
        assert [each.node for each in reports.under_way(nodes, now)] == ["handshakes"]
        reports.put("hosta", HostTrust({"y": held}), now + UNDER_WAY_SECONDS - 1)
        assert reports.under_way(nodes, now + UNDER_WAY_SECONDS - 1) != ()
        assert reports.under_way(nodes, now + UNDER_WAY_SECONDS) == ()
    assert reports.under_way([("hosta", "x")], 300) == (), "who else is none of its business"


def test_who_begins_has_the_newest_from_the_start_and_who_ended_has_nothing_under_way() -> None:
    reports = Reports()
    reports.put("hosta", HostTrust({"y": HELD}), 100)
    reports.put("hosta", HostTrust({"y": HELD, "new": HELD}), 200)
    assert reports.under_way([("hosta", "y"), ("hosta", "new")], 200) == ()
    reports.put("hosta", HostTrust({"new": msgspec.structs.replace(HELD, sequence=4)}), 201)
    assert reports.under_way([("hosta", "new")], 201) != ()
    reports.put("hosta", HostTrust({}), 202)
    reports.put("hosta", HostTrust({"new": HELD}), 203)
    assert reports.under_way([("hosta", "new")], 203) == ()
    reports.put("hosta", HostTrust({"new": msgspec.structs.replace(HELD, sequence=5)}), 203)
    reports.forget("hosta")
    assert reports.under_way([("hosta", "new")], 203) == ()
