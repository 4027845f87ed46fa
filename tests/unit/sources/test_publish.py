from __future__ import annotations

from weft.model.service import HostReport
from weft.sources.publish import Publisher


def test_the_world_is_synced_only_after_every_source_was_read() -> None:
    publisher = Publisher(["a"])
    publisher.expect("b")
    assert (publisher.latest.value.synced, publisher.waiting) == (False, ("a", "b"))
    publisher.read("a")
    assert not publisher.latest.value.synced
    publisher.read("b")
    assert publisher.latest.value.synced


def test_what_changes_nothing_wakes_nobody() -> None:
    publisher = Publisher()
    report = HostReport(host="h", workloads=())
    publisher.hosts((report,))
    serial = publisher.latest.serial
    publisher.hosts((HostReport(host="h", workloads=()),))
    publisher.records((), 0)
    assert publisher.latest.serial == serial
