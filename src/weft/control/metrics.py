"""The control plane's own metrics. Labels are resource types and counter names, so the number of series is fixed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from weft.control import trust_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.control.settle import Settler
    from weft.identity.service import TrustService
    from weft.sources.jwks import KeyFetcher
    from weft.xds.fleet import Fleet


def text(settler: Settler, fleet: Fleet, keys: KeyFetcher | None = None, trust: TrustService | None = None) -> str:
    """Prometheus text format of this moment."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Moment(settler, fleet, keys, trust))
    return generate_latest(registry).decode()


class _Moment(Collector):
    def __init__(self, settler: Settler, fleet: Fleet, keys: KeyFetcher | None, trust: TrustService | None) -> None:
        self.settler, self.fleet, self.keys, self.trust = settler, fleet, keys, trust

    def collect(self) -> Iterator[Metric]:
        settled = self.settler.settled.value
        yield CounterMetricFamily("weft_settle_runs", "Runs of the pipeline", value=self.settler.runs)
        if settled is not None:
            yield GaugeMetricFamily("weft_settle_last_seconds", "Duration of the last run", value=settled.seconds)
            problems = len(settled.compiled.problems)
            yield GaugeMetricFamily("weft_problems", "Problems of the users' objects", value=problems)
            services = len(settled.compiled.mesh.services)
            yield GaugeMetricFamily("weft_services", "Services in the mesh", value=services)
        events = CounterMetricFamily("weft_xds_events", "What happened on the proxies' streams", labels=["event"])
        for name, count in sorted(self.fleet.counts.items()):
            events.add_metric([name], count)
        yield events
        yield self._proxies()
        if self.keys is not None:
            fetches = CounterMetricFamily("weft_jwks_fetches", "Fetches of token issuers' keys", labels=["result"])
            for name, count in sorted(self.keys.counts.items()):
                fetches.add_metric([name], count)
            yield fetches
            stale = "Token issuers whose keys could not be had at the last try"
            yield GaugeMetricFamily("weft_jwks_stale", stale, value=self.keys.stale)
        if self.trust is not None:
            yield from trust_metrics.families(self.trust)

    def _proxies(self) -> Metric:
        family = GaugeMetricFamily("weft_proxies", "Proxies by state", labels=["state"])
        states = Counter(proxy.state.value if proxy.connected else "GONE" for proxy in self.fleet.status())
        for state, count in sorted(states.items()):
            family.add_metric([state], count)
        return family
