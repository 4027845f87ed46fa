"""Every object that is generated says which object of a user it came from, and that object exists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.support import worlds
from weft.api.decode import decode
from weft.envoy import api
from weft.envoy.common import METADATA
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.endpoint import v3 as endpoint
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.memo import Memo
from weft.xds.protocol import CLUSTER, ENDPOINTS, VIRTUAL_HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from weft.xds.protocol import Resource

OWN = re.compile(r"outbound|outbound-opaque|tunnel|egress|passthrough|(inbound|bound)\|.*")
"""What a proxy needs to be one: its ways in and out, whatever its application calls."""

ANSWERS = {"unknown", "no-match", "passthrough"}
"""The names of routes that answer where no user's object does."""


def built() -> tuple[set[str], list[tuple[str, str, Resource]]]:
    """The paths of all objects of a world, and (node, type, resource) of everything made of it."""
    memo = Memo()
    objects = [decode(document) for document in worlds.documents(worlds.texts().values())]
    made = worlds.proxies(worlds.compiled(objects, memo), memo)
    found = [
        (node, url, resource)
        for node, each in made.items()
        for url, named in each.resources.types.items()
        for resource in named.values()
    ]
    return {each.document.ref.path for each in objects}, found


def message(resource: Resource) -> Message | None:
    wire = discovery.Resource.FromString(resource.wire)
    return api.unpack(wire.resource) if wire.HasField("resource") else None


def inside(found: Message) -> Iterator[Message]:
    """A message and every message in it, those packed into ``Any`` too."""
    yield found
    for field, value in found.ListFields():
        if field.message_type is None:
            continue
        parts = value.values() if field.message_type.GetOptions().map_entry else value if field.is_repeated else [value]
        for part in parts:
            if not hasattr(part, "ListFields"):
                continue
            packed = part.DESCRIPTOR.full_name == "google.protobuf.Any"
            opened = api.unpack(part) if packed else part
            if opened is not None:
                yield from inside(opened)


def owner(source: str) -> str:
    """The path of the object in ``HTTPRoute/shop/cart/rules/0``."""
    kind, *rest = source.split("/")
    return "/".join((kind, *rest[:2]))


def sources(found: Message) -> Iterator[str]:
    """What the metadata and the names of routes in a message say."""
    for part in inside(found):
        if isinstance(part, core.Metadata) and METADATA in part.filter_metadata:
            yield str(part.filter_metadata[METADATA].fields["source"].string_value)
        if isinstance(part, route.Route) and part.name not in ANSWERS:
            yield part.name


def test_everything_made_names_an_object_that_exists() -> None:
    objects, found = built()
    wrong = [
        (node, resource.name, source)
        for node, _, resource in found
        if (made := message(resource)) is not None
        for source in (resource.source, *sources(made))
        if source and owner(source) not in objects and not OWN.fullmatch(source)
    ]
    assert wrong == []


def test_what_names_nobody_is_a_proxys_own_or_leads_nowhere() -> None:
    _, found = built()
    for _, _, resource in found:
        made = message(resource)
        if resource.source or made is None or OWN.fullmatch(resource.name):
            continue
        parts = list(inside(made))
        assert {part.name for part in parts if isinstance(part, route.Route)} <= ANSWERS, resource.name
        assert not any(isinstance(part, endpoint.LbEndpoint) for part in parts), resource.name


def test_every_route_has_a_name_and_every_cluster_and_virtual_host_its_metadata() -> None:
    _, found = built()
    for _, url, resource in found:
        made = message(resource)
        if made is None:
            continue
        assert all(part.name for part in inside(made) if isinstance(part, route.Route)), resource.name
        if url in (CLUSTER, VIRTUAL_HOST) and resource.source:
            assert resource.source in set(sources(made)), resource.name
    assert {resource.source for _, url, resource in found if url == ENDPOINTS} >= {"Service/shop/reviews"}
