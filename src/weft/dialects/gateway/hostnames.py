"""Host names with a leading wildcard: which cover which. The empty name stands for every host.

Source: Gateway API, "Hostname": ``*.example.com`` covers ``a.example.com`` and ``a.b.example.com``, not ``example.com``.
"""

from __future__ import annotations


def covers(pattern: str, host: str) -> bool:
    """Whether every host that ``host`` stands for is one that ``pattern`` stands for."""
    if not pattern or pattern == host:
        return True
    return pattern.startswith("*.") and host.endswith(pattern[1:]) and host.removeprefix("*") != pattern[1:]


def intersect(first: str, second: str) -> str | None:
    """The narrower of two names when one covers the other; None when they have nothing in common."""
    if covers(first, second):
        return second
    return first if covers(second, first) else None


def specificity(host: str) -> tuple[int, int]:
    """Smaller is more specific: the longest exact name first, then the longest wildcard, then every host."""
    exact = 0 if host.startswith("*") or not host else len(host)
    return -exact, -len(host)
