from __future__ import annotations

from weft.model.policy import OutlierDetection, Retry, ServicePolicy


def test_at_most_half_of_the_endpoints_is_ejected() -> None:
    assert OutlierDetection().max_ejection_percent <= 50


def test_retries_are_bounded_by_a_budget_and_not_by_envoys_three() -> None:
    assert ServicePolicy().breaker.retry_budget_percent > 0
    assert Retry().attempts == 2
