"""Metrics of the authority: how long its certificates live, who holds SVIDs, and who holds a rotation up.

Labels are the names of the authorities that are trusted (a handful at most) and fixed words.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from weft.identity import expiry
from weft.identity.problems import TrustError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.identity.service import TrustService


def families(trust: TrustService) -> Iterator[Metric]:
    """What there is to say of this moment."""
    signed = CounterMetricFamily("weft_svids", "Requests for SVIDs", labels=["result"])
    for result, count in sorted(trust.issued.counts.items()):
        signed.add_metric([result], count)
    yield signed
    holders = GaugeMetricFamily("weft_svid_holders", "Who holds an SVID, by its state", labels=["state"])
    for state, count in sorted(Counter(each.state for each in trust.identities()).items()):
        holders.add_metric([state], count)
    yield holders
    yield from _lives(trust)
    yield GaugeMetricFamily("weft_trust_sequence", "Changes of the bundles", value=trust.journal.sequence)
    try:
        blockers = len(trust.steps.blockers())
    except TrustError:
        return
    yield GaugeMetricFamily("weft_rotation_blockers", "Proxies that a rotation waits for", value=blockers)


def _lives(trust: TrustService) -> Iterator[Metric]:
    ends = GaugeMetricFamily(
        "weft_authority_end_timestamp_seconds", "When a certificate ends", labels=["authority", "part", "state"]
    )
    used = GaugeMetricFamily(
        "weft_authority_life_used_ratio", "Share of its life that is over", labels=["authority", "part"]
    )
    for authority in trust.journal.trusted:
        for life in expiry.lives(authority):
            ends.add_metric([authority.id, life.part, authority.state.value], life.not_after)
            used.add_metric([authority.id, life.part], life.used(trust.seconds()))
    yield ends
    yield used
