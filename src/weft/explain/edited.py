"""Headers that proxies set or remove before a rule is asked: what a caller says of them is not what the rule hears.

Source: Envoy, "HTTP header manipulation"; ``tests/attacks/test_forwarded.py`` tries each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from weft.explain.call import Call
    from weft.model.trust import Guard

FOR_PROXIES: Final = "x-envoy-"
REMOVED_AT_EDGES: Final = frozenset(
    {"x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-real-ip", "forwarded"}
)
SET_AT_EDGES: Final = frozenset({"x-forwarded-for", "x-forwarded-proto", "x-request-id", "x-envoy-external-address"})
GIVEN: Final = frozenset({"x-forwarded-proto", "x-request-id"})
"""Before a workload they are set where the caller said nothing."""
IDENTITY: Final = "x-forwarded-client-cert"


def heard(call: Call) -> Call:
    """The call without the headers that nobody hears from its caller."""
    kept = tuple((name, value) for name, value in call.headers if not _is_removed(name.lower(), edge=call.edge))
    return call if len(kept) == len(call.headers) else msgspec.structs.replace(call, headers=kept)


def _is_removed(name: str, *, edge: bool) -> bool:
    plain = plainly(name)
    return name.startswith(FOR_PROXIES) or plain == IDENTITY or (edge and plain in REMOVED_AT_EDGES)


def set_by_proxies(guard: Guard, call: Call) -> frozenset[str]:
    """The names, ``plainly``, of headers of which only a proxy knows what they say in this call. A connection has none."""
    if not call.http:
        return frozenset()
    made = {name for each in guard.issuers for name in (each.payload_header, *dict(each.claim_headers)) if name}
    said = {plainly(name) for name, _ in call.headers}
    made |= SET_AT_EDGES if call.edge else GIVEN - said
    if call.caller:
        made.add(IDENTITY)
    return frozenset(map(plainly, made))


def plainly(name: str) -> str:
    """A name of a header as applications read it that take ``x_role`` for ``x-role``."""
    return name.lower().replace("_", "-")
