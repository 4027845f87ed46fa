"""Resources opened again, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from weft.envoy import api
from weft.envoy.protos.envoy.service.discovery import v3 as discovery

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from weft.xds.protocol import Resource

M = TypeVar("M", bound="Message")


def opened(cls: type[M], resource: Resource) -> M:
    """The message inside a resource."""
    return api.unpack_as(cls, discovery.Resource.FromString(resource.wire).resource)
