"""Access logs: one line of JSON per request or connection, on Envoy's standard output.

Every field that a caller can choose is cut to a length, and JSON escapes what it contains, so that one event stays one
line. The fields are a contract: ``route`` names the user's object that routed the request.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from weft.envoy import api
from weft.envoy.protos.envoy.config.accesslog import v3 as accesslog
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.extensions.access_loggers.stream import v3 as stream

CONNECTION_FIELDS: Final = MappingProxyType(
    {
        "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        "duration_ms": "%DURATION%",
        "flags": "%RESPONSE_FLAGS%",
        "cluster": "%UPSTREAM_CLUSTER_RAW%",
        "upstream": "%UPSTREAM_HOST%",
        "downstream": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "local": "%DOWNSTREAM_LOCAL_ADDRESS%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
    }
)
REQUEST_FIELDS: Final = MappingProxyType(
    {
        **CONNECTION_FIELDS,
        "method": "%REQ(:METHOD):16%",
        "host": "%REQ(:AUTHORITY):256%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH):512%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "route": "%ROUTE_NAME%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "request_id": "%REQ(X-REQUEST-ID):64%",
        "user_agent": "%REQ(USER-AGENT):128%",
    }
)


POLICY_FIELDS: Final = MappingProxyType(
    {
        "audit": "%DYNAMIC_METADATA(envoy.filters.http.rbac:audit_shadow_effective_policy_id)%",
        "dry_run_deny": "%DYNAMIC_METADATA(envoy.filters.http.rbac:dry_run_deny_shadow_effective_policy_id)%",
        "dry_run_allow": "%DYNAMIC_METADATA(envoy.filters.http.rbac:dry_run_allow_shadow_engine_result)%",
    }
)
"""What rules that decide nothing would say: the rule that matched, and ``allowed`` or ``denied``. Absent where there are none."""


def requests(listener: str, *, guarded: bool = False) -> list[accesslog.AccessLog]:
    """The log of a listener that understands requests; ``guarded`` by policy."""
    decided = POLICY_FIELDS if guarded else {}
    return [_log({"listener": listener, **REQUEST_FIELDS, **decided})]


def connections(listener: str) -> list[accesslog.AccessLog]:
    """The log of a listener that passes bytes on."""
    return [_log({"listener": listener, **CONNECTION_FIELDS})]


def relayed(listener: str) -> list[accesslog.AccessLog]:
    """The log of a listener that passes TLS on unread: whom it was for is all that there is to know."""
    return [_log({"listener": listener, "sni": "%REQUESTED_SERVER_NAME%", **CONNECTION_FIELDS})]


def _log(fields: dict[str, str]) -> accesslog.AccessLog:
    lines = core.SubstitutionFormatString(json_format=api.struct(fields), omit_empty_values=True)
    return accesslog.AccessLog(
        name="envoy.access_loggers.stdout", typed_config=api.pack(stream.StdoutAccessLog(log_format=lines))
    )
