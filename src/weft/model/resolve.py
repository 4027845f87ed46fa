"""What a name means to a caller: a Host header or an address, as somebody in one namespace wrote it.

The Kubernetes spellings are understood with and without a port, in any case and with a trailing dot: ``reviews``,
``reviews.default``, ``reviews.default.svc``, ``reviews.default.svc.cluster.local``; then virtual addresses, then the DNS names of
external services, the most specific wildcard last. A service of the mesh wins over an external name of the same spelling,
because a search path would find it first. Source: Kubernetes "DNS for Services and Pods".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from weft.model.near import NearIndex, near, near_index
from weft.model.service import Protocol, Service, ServicePort
from weft.names import DOMAIN, ServiceKey

DEFAULT_PORT: Final = 80
_SVC: Final = ("svc", *DOMAIN.split("."))


class Names(msgspec.Struct, frozen=True, eq=False):
    """Every name of a mesh. Compared by identity: make one for each change of names, and keep it."""

    services: Mapping[ServiceKey, Service]
    external_hosts: Mapping[str, ServiceKey]
    addresses: Mapping[str, ServiceKey]


class Resolution(msgspec.Struct, frozen=True, cache_hash=True):
    """What one Host header means. ``service`` is None when it means nothing, and ``reason`` says why.

    ``host`` is what was asked for, ``external`` the DNS name when it is an external service's.
    ``wanted`` is the service that the name spells, whether it exists or not; its name is empty when it spells none.
    """

    host: str
    service: ServiceKey | None = None
    port: int = 0
    external: str = ""
    wanted: ServiceKey = ServiceKey("", "")
    reason: str = ""


def resolve(names: Names, namespace: str, host: str) -> Resolution:
    """What ``host`` (with or without ``:port``) means to a caller in ``namespace``; never raises."""
    name, port = split_host(host)
    if not name or port is None:
        return Resolution(host, reason=f'"{host}" is not a host name with an optional port')
    wanted = spelled(name, namespace)
    found, external = _find(names, name, wanted)
    if found is None:
        reason = f'nothing in the mesh is called "{name}" (asked for in namespace {namespace})'
        return Resolution(host, wanted=wanted or ServiceKey(namespace, name.partition(".")[0]), reason=reason)
    service = names.services[found]
    number = _port(service, port)
    if number is None:
        return Resolution(host, wanted=found, reason=_no_port(service, port))
    return Resolution(host, service=found, port=number, external=external, wanted=found)


def split_host(host: str) -> tuple[str, int | None]:
    """(lower-case name without trailing dot, port): 0 when there is none, None when it is not a port."""
    name, colon, port = host.lower().rpartition(":")
    if not colon:
        return port.removesuffix("."), 0
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    return name.removesuffix("."), number if 0 < number < 65536 else None


def spelled(name: str, namespace: str) -> ServiceKey | None:
    """The service that a lower-case name spells as Kubernetes users write it; None when it has another form."""
    labels = name.split(".")
    if not all(labels):
        return None
    if len(labels) == 1:
        return ServiceKey(namespace, name)
    if tuple(labels[2:]) in ((), ("svc",), _SVC):
        return ServiceKey(labels[1], labels[0])
    return None


def resolve_address(names: Names, address: str, port: int) -> tuple[Service, ServicePort] | None:
    """The service and port behind a virtual address; None when there is none, or the port is UDP."""
    key = names.addresses.get(address)
    service = names.services.get(key) if key else None
    found = service.port(port) if service else None
    return (service, found) if service and found and found.protocol is not Protocol.UDP else None


def index(names: Names) -> NearIndex:
    """The index for ``unknown_text``; linear in the number of services."""
    return near_index(list(names.services))


def unknown_text(resolution: Resolution, known: NearIndex) -> str:
    """The body of the 502 for a name that means nothing: what was asked for, what is near, how to see all names."""
    lines = [f"weft: {resolution.reason}"]
    if resolution.wanted.name and resolution.reason.startswith("nothing"):
        found = near(known, resolution.wanted.name, resolution.wanted.namespace)
        if found:
            lines.append(f"nearest names: {', '.join(found)}")
    lines.append("all names: weft get services -A")
    return "\n".join(lines) + "\n"


def _find(names: Names, name: str, wanted: ServiceKey | None) -> tuple[ServiceKey | None, str]:
    if wanted is not None and wanted in names.services:
        return wanted, ""
    if (key := names.addresses.get(name)) and key in names.services:
        return key, ""
    key = external_service(names, name)
    return key, name if key else ""


def external_service(names: Names, name: str) -> ServiceKey | None:
    """The external service that has a lower-case DNS name: as it is written, then by the longest wildcard."""
    key = names.external_hosts.get(name)
    if key is not None and key in names.services:
        return key
    suffix = name.partition(".")[2]
    while suffix:
        key = names.external_hosts.get(f"*.{suffix}")
        if key is not None and key in names.services:
            return key
        suffix = suffix.partition(".")[2]
    return None


def _port(service: Service, port: int) -> int | None:
    if port:
        found = service.port(port)
        return port if found and found.protocol is not Protocol.UDP else None
    http = [found.number for found in service.ports if found.protocol.is_http]
    if not http:
        return None
    return DEFAULT_PORT if DEFAULT_PORT in http else http[0]


def _no_port(service: Service, port: int) -> str:
    ports = ", ".join(f"{found.number} ({found.protocol.value})" for found in service.ports) or "none"
    if port:
        return f"service {service.key} has no port {port}; its ports: {ports}"
    return f"service {service.key} has no HTTP port, so the name needs one; its ports: {ports}"
