"""How calls travel, read from what an Envoy runs: the shapes that a listener takes, and the one that a cluster uses.

Pure. The words are those of ``model.trust.Shape``; docs/concepts/shapes.md says what they mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from weft.names import ALPN_HTTP, ALPN_RAW, ALPN_TUNNEL

if TYPE_CHECKING:
    from collections.abc import Iterator

Json: TypeAlias = Any

_SHAPES: Final = {ALPN_RAW: "raw", ALPN_HTTP: "http", ALPN_TUNNEL: "tunnel"}
_MANAGER: Final = "envoy.filters.network.http_connection_manager"


def of_cluster(body: Json) -> str:
    """``mtls raw``; with ``, else plain`` where some endpoints have no proxy; empty in the clear."""
    alpn = [_alpn(body.get("transport_socket") or {})]
    alpn += [_alpn(each.get("transport_socket") or {}) for each in body.get("transport_socket_matches", [])]
    found = [_SHAPES[each] for each in alpn if each in _SHAPES]
    if not found:
        return ""
    return f"mtls {found[0]}" + (", else plain" if body.get("transport_socket_matches") else "")


def of_listener(body: Json) -> str:
    """Every chain behind mutual TLS by its shape, and what is taken in the clear: ``mtls http, mtls raw (bytes), plain``.

    ``(bytes)``: requests are not looked at there. Empty for a listener without any.
    """
    chains = [
        *body.get("filter_chains", []),
        *([body["default_filter_chain"]] if "default_filter_chain" in body else []),
    ]
    if not any(each.get("name") in _SHAPES for each in chains):
        return ""
    return ", ".join(_chains(chains))


def _chains(chains: list[Json]) -> Iterator[str]:
    for each in chains:
        name = each.get("name", "")
        understood = any(filter_.get("name") == _MANAGER for filter_ in each.get("filters", []))
        shape = f"mtls {_SHAPES[name]}" if name in _SHAPES else {"plain": "plain", "tls": "foreign tls"}.get(name, name)
        yield shape if understood else f"{shape} (bytes)"


def _alpn(socket: Json) -> str:
    config = socket.get("typed_config") or {}
    inner = config.get("transport_socket")
    if inner:
        return _alpn(inner)
    protocols = (config.get("common_tls_context") or {}).get("alpn_protocols") or [""]
    return str(protocols[0])
