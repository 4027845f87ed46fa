"""The control plane's own metrics. Labels are resource types and counter names, so the number of series is fixed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.control.settle import Settler
    from weft.xds.fleet import Fleet


def text(settler: Settler, fleet: Fleet) -> str:
    """Prometheus text format of this moment."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Moment(settler, fleet))
    return generate_latest(registry).decode()


class _Moment(Collector):
    def __init__(self, settler: Settler, fleet: Fleet) -> None:
        self.settler, self.fleet = settler, fleet

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

    def _proxies(self) -> Metric:
        family = GaugeMetricFamily("weft_proxies", "Proxies by state", labels=["state"])
        states = Counter(proxy.state.value if proxy.connected else "GONE" for proxy in self.fleet.status())
        for state, count in sorted(states.items()):
            family.add_metric([state], count)
        return family
