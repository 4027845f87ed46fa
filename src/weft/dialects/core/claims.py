"""Whose name, and whose address: nobody takes what belongs to another namespace, nor what means something else already.

The DNS names of external services mean the same to every caller, and so does an address. Three kinds of claim are refused:
a name that Kubernetes would give to a service, a name or an address that somebody of another namespace had before, and an
address that no cluster gives to a service (loopback, link-local and metadata, multicast, the public internet), because
every caller's connections to it would go to whoever wrote it down. Source: CVE-2020-8554, the same flaw in Kubernetes.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from weft.dialects.values import Declared, Finding, age
from weft.names import DOMAIN, ServiceKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OURS: Final = (".svc", f".{DOMAIN}", ".h.weft")
"""Ends of names that are the mesh's own, whether such a service exists or not."""


def squatters(found: Mapping[ServiceKey, Declared]) -> dict[ServiceKey, Finding]:
    """Services whose short name, ``example`` in namespace ``com``, is the DNS name of an older external service of another
    namespace. They would get its calls, because a service of the mesh is found first.
    """
    refused: dict[ServiceKey, Finding] = {}
    for each in found.values():
        for host in each.service.hosts:
            key = _short(host)
            other = found.get(key) if key else None
            if other is None or key == each.service.key or other.ref.namespace == each.ref.namespace:
                continue
            if _by_age(each) < _by_age(other):
                refused[other.service.key] = Finding(
                    code="WFT-1214",
                    ref=other.ref,
                    message=f"service {other.service.key} has the name of host {host}, "
                    f"which belongs to the older external service {each.service.key}",
                    remedy="Rename the service or its namespace",
                )
    return refused


def external_hosts(found: Mapping[ServiceKey, Declared]) -> tuple[dict[str, ServiceKey], list[Finding]]:
    """Every DNS name of an external service with its owner; the older claim holds, a refused one is a finding."""
    hosts: dict[str, ServiceKey] = {}
    findings = []
    outside = sorted((each for each in found.values() if each.service.hosts), key=_by_age)
    oldest = _oldest(found.values()) if any(_short(host) for each in outside for host in each.service.hosts) else {}
    for each in outside:
        for host in each.service.hosts:
            if why := _taken(each, host, hosts, found, oldest):
                findings.append(
                    Finding(
                        code="WFT-1214",
                        ref=each.ref,
                        message=f"host {host} of external service {each.service.key} {why}",
                        remedy="Remove the host from one of the two",
                    )
                )
            else:
                hosts[host] = each.service.key
    return hosts, findings


def _taken(
    each: Declared,
    host: str,
    hosts: Mapping[str, ServiceKey],
    found: Mapping[ServiceKey, Declared],
    oldest: Mapping[str, tuple[str, str, str]],
) -> str:
    """Why a host cannot be claimed; empty when it can."""
    own = each.ref.namespace
    if "." not in host or f".{host.removeprefix('*.')}".endswith(_OURS):
        return "is a name of services inside the mesh"
    if host.startswith("*.") and host.count(".") == 1:
        return "is a whole top-level domain"
    short = _short(host)
    if short and short in found and short != each.service.key:
        return f"belongs to service {short}, which is found first"
    if short and short.namespace != own and oldest.get(short.namespace, ("~",)) < _by_age(each):
        return f"is a name in namespace {short.namespace}"
    first = hosts.get(host)
    if first:
        return f"belongs to the older {first}"
    suffix = host.removeprefix("*.").partition(".")[2]
    while suffix:
        cover = hosts.get(f"*.{suffix}")
        if cover and cover.namespace != own:
            return f"is one of *.{suffix}, which belongs to the older {cover}"
        suffix = suffix.partition(".")[2]
    return ""


def cluster_addresses(found: Iterable[Declared], addresses: dict[str, ServiceKey]) -> tuple[Finding, ...]:
    """Adds each ``clusterIP`` to ``addresses`` that is free and can be one."""
    findings = []
    for each in sorted((each for each in found if each.cluster_ip), key=_by_age):
        why = _not_of_a_service(each.cluster_ip)
        if not why:
            first = addresses.setdefault(each.cluster_ip, each.service.key)
            why = "" if first == each.service.key else f"belongs to service {first} already"
        if why:
            findings.append(
                Finding(
                    code="WFT-1213",
                    ref=each.ref,
                    field="spec.clusterIP",
                    message=f"address {each.cluster_ip} {why}",
                    remedy="Remove clusterIP; weft gives every service an address",
                )
            )
    return tuple(findings)


def _not_of_a_service(text: str) -> str:
    address = ipaddress.ip_address(text)
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        return "is loopback, link-local or multicast, and never a service's"
    return "is one of the public internet, and never a service's" if address.is_global else ""


def _oldest(found: Iterable[Declared]) -> dict[str, tuple[str, str, str]]:
    """By namespace, the age of its first service."""
    oldest: dict[str, tuple[str, str, str]] = {}
    for each in found:
        namespace = each.service.key.namespace
        oldest[namespace] = min(oldest.get(namespace, _by_age(each)), _by_age(each))
    return oldest


def _short(host: str) -> ServiceKey | None:
    """The service that two labels would mean, ``reviews.default``."""
    name, _, namespace = host.partition(".")
    return ServiceKey(namespace, name) if name != "*" and namespace and "." not in namespace else None


def _by_age(each: Declared) -> tuple[str, str, str]:
    return age(each.created, each.ref)
