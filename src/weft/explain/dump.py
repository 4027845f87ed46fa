"""What a proxy runs and what it should run, in one shape: Envoy's ``config_dump``, and the control plane's resources.

Pure. Source: Envoy's admin page, ``/config_dump``; ``envoy.admin.v3`` messages as JSON with protobuf field names.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from weft.explain import shapes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Json: TypeAlias = Any
"""What ``json.loads`` returns: its shape is Envoy's to say."""

KINDS: Final = MappingProxyType(
    {
        "Listener": "listeners",
        "RouteConfiguration": "routes",
        "VirtualHost": "routes",
        "Cluster": "clusters",
        "ClusterLoadAssignment": "endpoints",
        "TypedExtensionConfig": "policies",
        "Bootstrap": "bootstrap",
    }
)
"""Message name to the word that people ask for."""

VERSIONED: Final = ("Listener", "RouteConfiguration", "Cluster", "TypedExtensionConfig")
"""Types whose version Envoy tells. Of the others only the names can be compared."""

_TRIED: Final = MappingProxyType(
    {"audit_": "AUDIT", "dry_run_deny_": "DENY, dry run", "dry_run_allow_": "ALLOW, dry run"}
)
"""The prefix of counters of rules that do not decide, as ``envoy.filters.policy`` makes it, to what they are."""

_BANS: Final = ("banned", "weft_ban")
"""Names of our own rules that refuse whoever is banned, on requests and on connections."""


class Item(msgspec.Struct, frozen=True):
    """One resource. ``source`` is the user's object that it comes from, ``static`` one that the bootstrap brought."""

    type: str
    name: str
    body: Json
    version: str = ""
    detail: str = ""
    source: str = ""
    static: bool = False

    @property
    def kind(self) -> str:
        return KINDS.get(self.type, "")


class Difference(msgspec.Struct, frozen=True):
    """``missing``: wanted and not there; ``different``: another version; ``unwanted``: there and not wanted."""

    state: str
    type: str
    name: str
    source: str


def wanted(items: Iterable[Json]) -> list[Item]:
    """The control plane's answer to ``/weft/v1/proxies/{node}/resources``."""
    return [
        _item(each["type"], each["name"], each["resource"], each["version"], source=each["source"]) for each in items
    ]


def running(dump: Json) -> list[Item]:
    """Envoy's answer to ``/config_dump?include_eds``. Resources that are still warming do not run and are left out."""
    found: list[Item] = []
    for part in dump["configs"]:
        kind = part["@type"].rpartition(".")[2]
        if kind == "BootstrapConfigDump":
            found.append(_item("Bootstrap", "bootstrap", part["bootstrap"], static=True))
        elif kind == "ListenersConfigDump":
            found.extend(_listeners(part))
        elif kind == "ClustersConfigDump":
            found.extend(_several(part, "Cluster", "cluster", "static_clusters", "dynamic_active_clusters"))
        elif kind == "RoutesConfigDump":
            found.extend(
                _several(part, "RouteConfiguration", "route_config", "static_route_configs", "dynamic_route_configs")
            )
        elif kind == "EcdsConfigDump":
            # One entry for each chain that asks for it.
            held = {each["ecds_filter"]["name"]: each for each in part.get("ecds_filters", [])}
            found.extend(
                _item("TypedExtensionConfig", name, each["ecds_filter"], each.get("version_info", ""))
                for name, each in held.items()
            )
        elif kind == "EndpointsConfigDump":
            fields = ("static_endpoint_configs", "dynamic_endpoint_configs")
            found.extend(_several(part, "ClusterLoadAssignment", "endpoint_config", *fields))
    return [each for item in _owned(found) for each in (item, *_virtual_hosts(item))]


def _owned(items: list[Item]) -> Iterator[Item]:
    """Endpoints have no room for provenance in Envoy: they come from whatever their cluster comes from."""
    clusters = {item.name: item.source for item in items if item.type == "Cluster"}
    for item in items:
        if item.type == "ClusterLoadAssignment" and not item.source:
            yield msgspec.structs.replace(item, source=clusters.get(item.name, ""))
        else:
            yield item


def expanded(item: Item) -> Iterator[Item]:
    """The rows of one resource: a route of its own for each rule, an endpoint for each address, a row for each policy."""
    if item.type == "VirtualHost":
        for route in item.body.get("routes", []):
            yield msgspec.structs.replace(
                item,
                detail=f"{_match(route.get('match', {}))} -> {_action(route)}",
                source=_route_source(route, item),
            )
    elif item.type == "ClusterLoadAssignment":
        rows = list(_endpoints(item))
        yield from rows or [msgspec.structs.replace(item, detail="no endpoints")]
    elif item.type == "TypedExtensionConfig":
        yield from list(rules(item)) or [item]
    elif item.type != "RouteConfiguration":
        yield item
        yield from rules(item)


def rules(item: Item) -> Iterator[Item]:
    """A row for each rule that a listener or its resource of policies asks, in order, with the object that said it."""
    for what, name in dict.fromkeys(_asked(item.body)):
        yield msgspec.structs.replace(item, detail=what, source=name)


def _asked(body: Json) -> Iterator[tuple[str, str]]:
    """What is asked, as policies call it, and by which rule; what only guards against strangers is nobody's rule."""
    if isinstance(body, list):
        for each in body:
            yield from _asked(each)
    elif isinstance(body, dict):
        prefix = str(body.get("shadow_rules_stat_prefix", ""))
        for field, value in body.items():
            if field in ("rules", "shadow_rules") and isinstance(value, dict) and "policies" in value:
                action = str(value.get("action", "ALLOW"))
                what = action if field == "rules" else _TRIED.get(prefix, "CUSTOM")
                yield from ((what, name) for name in value["policies"] if "/" in name)
                if any(name in value["policies"] for name in _BANS):
                    yield "DENY, banned", ""
            elif field == "providers" and isinstance(value, dict):
                yield from ((f"token {each.get('issuer', '')}".strip(), "") for each in value.values())
            else:
                yield from _asked(value)


def compare(should: Iterable[Item], does: Iterable[Item]) -> list[Difference]:
    """Everything that differs, by type and name. What the bootstrap brought is nobody's wish.

    A listener whose chains alone were replaced has the new ones and, in Envoy's dump, the version that it began with.
    """
    want = {(item.type, item.name): item for item in should}
    have = {(item.type, item.name): item for item in does if not item.static}
    found: list[Difference] = []
    for key in sorted({*want, *have}):
        item, other = want.get(key), have.get(key)
        if other is None and item is not None:
            found.append(Difference("missing", item.type, item.name, item.source))
        elif item is None and other is not None and not _of_static_cluster(other, have):
            found.append(Difference("unwanted", other.type, other.name, other.source))
        elif item and other and _is_versioned(item) and item.version != other.version and not _is_same(item, other):
            found.append(Difference("different", item.type, item.name, item.source))
    return found


def _is_versioned(item: Item) -> bool:
    """Envoy gives a route configuration whose virtual hosts it asks for the version of the last of those."""
    return item.type in VERSIONED and "vhds" not in item.body


def _is_same(item: Item, other: Item) -> bool:
    """Whether a listener is what it should be whatever its version; a dump says of each resource what type it has."""
    return item.type == "Listener" and item.body == {name: other.body[name] for name in other.body if name != "@type"}


def _of_static_cluster(item: Item, have: Mapping[tuple[str, str], Item]) -> bool:
    """Endpoints that stand in their cluster; Envoy shows them as if they had come by themselves."""
    cluster = have.get(("Cluster", item.name))
    return item.type == "ClusterLoadAssignment" and cluster is not None and cluster.body.get("type") != "EDS"


def source_of(body: Json) -> str:
    """The provenance that every generated object carries in its metadata, as ``HTTPRoute/shop/cart``."""
    said = ((body.get("metadata") or {}).get("filter_metadata") or {}).get("weft") or {}
    parts = [said.get(key) for key in ("kind", "namespace", "name")]
    return str(said.get("source") or "/".join(part for part in parts if part))


def _item(type_: str, name: str, body: Json, version: str = "", *, source: str = "", static: bool = False) -> Item:
    return Item(type_, name, body, version, _detail(type_, body), source or source_of(body), static)


def _several(part: Json, type_: str, field: str, static: str, dynamic: str) -> Iterator[Item]:
    for name in (static, dynamic):
        for entry in part.get(name, []):
            body = entry.get(field)
            if body is not None:
                label = body.get("name") or body.get("cluster_name", "")
                yield _item(type_, label, body, entry.get("version_info", ""), static=name == static)


def _listeners(part: Json) -> Iterator[Item]:
    for entry in part.get("static_listeners", []):
        yield _item("Listener", entry["listener"].get("name", ""), entry["listener"], static=True)
    for entry in part.get("dynamic_listeners", []):
        if state := entry.get("active_state"):
            yield _item("Listener", entry["name"], state["listener"], state.get("version_info", ""))


def _virtual_hosts(item: Item) -> Iterator[Item]:
    """Virtual hosts that were fetched on demand stand inside their route configuration."""
    if item.type == "RouteConfiguration":
        for host in item.body.get("virtual_hosts", []):
            domains = host.get("domains") or [host.get("name", "")]
            name = host.get("name", "") if "vhds" not in item.body else f"{item.name}/{domains[0]}"
            yield Item(
                "VirtualHost", name, host, "", "", source_of(host), static=item.static or "vhds" not in item.body
            )


def _detail(type_: str, body: Json) -> str:
    if type_ == "Listener":
        return " ".join([_address(body.get("address") or {}), shapes.of_listener(body)]).strip()
    if type_ == "Cluster":
        kind = str(body.get("type") or ("EDS" if "eds_cluster_config" in body else "STATIC"))
        return " ".join([kind, shapes.of_cluster(body)]).strip()
    return ""


def _endpoints(item: Item) -> Iterator[Item]:
    for group in item.body.get("endpoints", []):
        for each in group.get("lb_endpoints", []):
            address = _address((each.get("endpoint") or {}).get("address") or {})
            health = each.get("health_status", "")
            yield msgspec.structs.replace(item, detail=f"{address} {health}".strip())


def _address(address: Json) -> str:
    if socket := address.get("socket_address"):
        return f"{socket['address']}:{socket.get('port_value', 0)}"
    return str((address.get("pipe") or {}).get("path", ""))


def _match(match: Json) -> str:
    for field, shape in (("path", "{}"), ("prefix", "{}*"), ("path_separated_prefix", "{}/*")):
        if field in match:
            text = shape.format(match[field])
            break
    else:
        text = f"~{match['safe_regex'].get('regex', '')}" if "safe_regex" in match else "*"
    headers = [header.get("name", "") for header in match.get("headers", [])]
    return f"{text} [{','.join(headers)}]" if headers else text


def _action(route: Json) -> str:
    if direct := route.get("direct_response"):
        return f"answer {direct.get('status', 200)}"
    if "redirect" in route:
        return "redirect"
    action = route.get("route") or {}
    if weighted := action.get("weighted_clusters"):
        return " ".join(f"{short(each['name'])}={each.get('weight', 0)}" for each in weighted.get("clusters", []))
    return short(str(action.get("cluster") or action.get("cluster_header", "")))


def _route_source(route: Json, item: Item) -> str:
    """A route is named after the rule that it comes from; names without a ``/`` are our own."""
    name = str(route.get("name", ""))
    return name if "/" in name else item.source


def short(cluster: str) -> str:
    """A cluster's name as people say it: ``reviews.default:80``."""
    parts = cluster.split("|")
    if len(parts) != 4 or parts[0] != "outbound":
        return cluster
    return f"{parts[3].removesuffix('.svc.cluster.local')}:{parts[1]}" + (f" {parts[2]}" if parts[2] else "")
