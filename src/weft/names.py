"""Every generated name, made and parsed in one place.

Cluster names follow Istio's spelling because dashboards and people know it. Names that Envoy asks for on demand
(virtual hosts by Host header, clusters by name) must be parsable, since a request for a name is all that arrives.
"""

from __future__ import annotations

from typing import Final

import msgspec

DOMAIN: Final = "cluster.local"
OUTBOUND: Final = "outbound"
"""The one outbound listener and the one outbound route configuration of every proxy."""

BLACKHOLE: Final = "blackhole"
PASSTHROUGH: Final = "passthrough"
CONTROL_CLUSTER: Final = "weft-control"


class ServiceKey(msgspec.Struct, frozen=True, cache_hash=True, order=True):
    """A service: the name that is called."""

    namespace: str
    name: str

    @property
    def host(self) -> str:
        """The full name, ``reviews.default.svc.cluster.local``."""
        return f"{self.name}.{self.namespace}.svc.{DOMAIN}"

    def __str__(self) -> str:
        return f"{self.name}.{self.namespace}"


class OutboundCluster(msgspec.Struct, frozen=True, cache_hash=True):
    """``outbound|<port>|<subset>|<host>``. ``host`` is a service's full name, or an external service's."""

    port: int
    host: str
    subset: str = ""

    def __str__(self) -> str:
        return f"outbound|{self.port}|{self.subset}|{self.host}"

    @property
    def service(self) -> ServiceKey | None:
        """The service behind a full name; None for an external host."""
        name, _, rest = self.host.partition(".")
        namespace, _, suffix = rest.partition(".")
        return ServiceKey(namespace, name) if suffix == f"svc.{DOMAIN}" else None


def parse_outbound_cluster(name: str) -> OutboundCluster | None:
    """The parts of ``outbound|80|v1|reviews.default.svc.cluster.local``; None when it is not such a name."""
    parts = name.split("|")
    if len(parts) != 4 or parts[0] != "outbound" or not (parts[1].isascii() and parts[1].isdigit()) or not parts[3]:
        return None
    port = int(parts[1]) if len(parts[1]) <= 5 else 0
    return OutboundCluster(port=port, host=parts[3], subset=parts[2]) if 0 < port < 65536 else None


def inbound_cluster(port: int) -> str:
    return f"inbound|{port}||"


def inbound_http1_cluster(port: int) -> str:
    """The same application, spoken to in HTTP/1.1 whatever its caller's proxy speaks to its own."""
    return f"inbound|{port}|http1|"


def inbound_listener(port: int) -> str:
    return f"inbound|{port}"


def bound_listener(service: str, port: int) -> str:
    """The listener of one called service in ``ports`` capture; also the name of its route configuration."""
    return f"bound|{port}|{service}"


def gateway_listener(namespace: str, name: str, port: int) -> str:
    """The edge proxy's listener on one port of a Gateway; also the name of its route configuration."""
    return f"gateway|{port}|{namespace}/{name}"


AGENT_CLUSTER: Final = "weft-agent"
"""The bootstrap's static cluster of the agent's SDS socket."""
SVID: Final = "default"
"""The SDS secret with a proxy's own X.509-SVID and key. Source: the names that SPIRE's agent made usual."""
BUNDLES: Final = "ALL"
"""The SDS secret with the bundle of every trust domain, for Envoy's SPIFFE validator."""

ALPN_RAW: Final = "weft-raw"
ALPN_HTTP: Final = "weft-http"
ALPN_TUNNEL: Final = "weft-tunnel"
"""How a caller's proxy says which shape (``model.trust.Shape``) its connection has."""

UNANSWERED: Final = "x-weft-unanswered"
"""The header by which a callee's proxy tells the caller's that its answer is its own: the application gave none."""

RELAY_PORT: Final = 15008
DOOR_PORT: Final = 15012
"""Of a host with an address: where its host proxy takes TLS from other hosts, and where control's door is."""

CONTROL_NAME: Final = "control.weft"
"""The SNI by which a client says at control's door that it has an SVID to show."""

SYSTEM_NAMESPACE: Final = "weft-system"


def spiffe_id(trust_domain: str, namespace: str, service_account: str) -> str:
    """The identity of a workload, as Istio spells it."""
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}"


def host_spiffe_id(trust_domain: str, host: str) -> str:
    """The identity of a host's agent."""
    return f"spiffe://{trust_domain}/weft/host/{host}"


def control_spiffe_id(trust_domain: str) -> str:
    return f"spiffe://{trust_domain}/weft/control"


_GATEWAY_END: Final = "-weft"
_HOST_PROXY: Final = "host-proxy-"


def gateway_account(gateway: str) -> str:
    """The service account of a Gateway's proxy. Source: GEP-1762, names of generated resources."""
    return f"{gateway}{_GATEWAY_END}"


def gateway_of(account: str) -> str:
    """The name of the Gateway whose proxy would have this service account; empty when none could."""
    return account.removesuffix(_GATEWAY_END) if account.endswith(_GATEWAY_END) else ""


def host_proxy_account(host: str) -> str:
    """The service account of a host's proxy, one for each host: what one may ask control for is no other's."""
    return f"{_HOST_PROXY}{_label(host)}"


def is_host_proxy_account(account: str) -> bool:
    """In the namespace ``weft-system``. Of any host: a machine may join by any name at any time."""
    return account.startswith(_HOST_PROXY)


def peer_name(port: int, workload: str, namespace: str, host: str) -> str:
    """The SNI of one port of one workload, ``9080.reviews-v1-0.default.hosta.h.weft``. A ``~`` cannot stand in a host name."""
    return f"{port}.{workload.replace('~', '-n')}.{namespace}.{host_suffix(host)}"


def host_suffix(host: str) -> str:
    """The end of the SNI of everything on a host: one label, so that ``*.`` before it matches all of it."""
    return f"{_label(host)}.h.weft"


def _label(host: str) -> str:
    """No two hosts of a mesh have the same (``identity.join.unfit``)."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in host.lower())


def extension(listener: str, filter_name: str) -> str:
    """The name of a filter's configuration that is delivered apart from its listener (ECDS)."""
    return f"{listener}/{filter_name}"


TUNNEL_PREFIX: Final = "tunnel|"


def tunnel_cluster(name: str) -> str:
    """The pooled tunnels behind a cluster of opaque TCP."""
    return TUNNEL_PREFIX + name


TCP_PREFIX: Final = "tcp|"


def parse_tcp_cluster(name: str) -> tuple[str, int] | None:
    """``tcp|240.1.2.3:6379``, which an outbound listener asks for by the original destination, as (address, port)."""
    if not name.startswith(TCP_PREFIX):
        return None
    address, _, port = name[len(TCP_PREFIX) :].rpartition(":")
    if not address or not (port.isascii() and port.isdigit()) or len(port) > 5 or not 0 < int(port) < 65536:
        return None
    return address, int(port)


def virtual_host(host: str, route_configuration: str = OUTBOUND) -> str:
    """The VHDS resource name of one Host header, ``outbound/reviews:9080``; Envoy lower-cases it."""
    return f"{route_configuration}/{host}"


def parse_virtual_host(name: str) -> tuple[str, str]:
    """(route configuration, host) of a VHDS resource name."""
    route_configuration, _, host = name.partition("/")
    return route_configuration, host


def node_id(placement: str, namespace: str, name: str) -> str:
    """The xDS node id of one proxy, ``sidecar/default/reviews-v1-0``; ``weft proxy`` shows it without the placement."""
    return f"{placement}/{namespace}/{name}"


_HOST_NODE: Final = "host/"


def host_node(host: str) -> str:
    """What a host's agent asks for its own SVID by."""
    return f"{_HOST_NODE}{host}"


def host_of(node: str) -> str:
    """The host whose agent asks by this name; empty when it is that of something else."""
    return node.removeprefix(_HOST_NODE) if node.startswith(_HOST_NODE) else ""


def instance(name: str, generation: int) -> str:
    """The name that control knows an instance of a workload by: while a changed one takes over from the one before,
    both live. Only two ever do, so there are two names, ``reviews-v1-0`` and ``reviews-v1-0~1``, in turn.
    """
    return f"{name}~1" if generation % 2 else name


def workload_of(instance_name: str) -> str:
    """The workload that an instance's name belongs to."""
    return instance_name.partition("~")[0]


def parse_node_id(text: str) -> tuple[str, str, str] | None:
    """(placement, namespace, name), or None when ``text`` is not a node id of ours."""
    parts = text.split("/")
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 and all(parts) else None
