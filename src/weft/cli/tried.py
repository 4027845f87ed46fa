"""What policies in dry run would have done so far, as the proxies of this machine count it.

A DENY rule is counted alone. ALLOW policies in dry run are tried together, with those that hold already: what none of them
would let in is counted once for all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from weft.cli import options
from weft.cli.client import Failed

if TYPE_CHECKING:
    from weft.cli.client import Client, Json

FILTER: Final = r"dry_run_(deny|allow)_\..*shadow_denied$"
"""What is asked of Envoy: the counters of RBAC that say what would have been denied."""
_DENY: Final = re.compile(r".*?policy\.(\w+/[^/]+/[^/]+/rules/[0-9]+)\.(?:rbac\.dry_run_deny_\.)?shadow_denied")
_ALLOW: Final = re.compile(r".*dry_run_allow_\.shadow_denied")


class Trials(msgspec.Struct, frozen=True):
    """``denied`` counts by rule what DENY policies would have denied; ``unallowed`` what no ALLOW policy would have let in.
    ``uncounted`` are proxies that could not be asked: they run elsewhere, or not at all.
    """

    denied: Mapping[str, int]
    unallowed: int
    uncounted: tuple[str, ...]
    asked: bool = True

    def of(self, policy: Json) -> str:
        """What there is to say about a policy in dry run."""
        return f": would have denied {self._denied(policy)}" if self.asked else ""

    def _denied(self, policy: Json) -> int:
        if policy["action"] == "ALLOW":
            return self.unallowed
        return sum(self.denied.get(rule["source"], 0) for rule in policy["rules"])

    def as_json(self) -> dict[str, Any]:
        return {"denied": dict(self.denied), "unallowed": self.unallowed, "uncounted": list(self.uncounted)}


def count(answer: Json) -> Trials:
    """The trials of the policies that control listed. Without one in dry run nobody is asked."""
    if not any(policy["dryRun"] for item in answer["items"] for policy in item["policies"]):
        return Trials({}, 0, (), asked=False)
    denied: dict[str, int] = {}
    unallowed, uncounted = 0, []
    for proxy in answer["proxies"]:
        try:
            said = _asked(options.agent(), proxy)
        except Failed:
            uncounted.append(proxy)
            continue
        for name, value in said.items():
            if found := _DENY.fullmatch(name):
                denied[found[1]] = denied.get(found[1], 0) + value
            elif _ALLOW.fullmatch(name):
                unallowed += value
    return Trials(denied, unallowed, tuple(uncounted), asked=len(uncounted) < len(answer["proxies"]))


def _asked(agent: Client, proxy: str) -> dict[str, int]:
    said = agent.get(f"/v1/proxies/{proxy}/admin/stats", {"format": "json", "filter": FILTER})
    return {each["name"]: each["value"] for each in said["stats"] if isinstance(each.get("value"), int)}
