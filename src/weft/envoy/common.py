"""What every builder needs: addresses, where configuration comes from, provenance, and a message as a resource."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from weft.envoy import api
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.xds.protocol import Resource

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from weft.model.service import Address

SOCKET_MODE: Final = 0o600
BUFFER_LIMIT_BYTES: Final = 262_144
"""Per connection and direction. Envoy's own 1 MiB lets 4,000 slow readers hold 4 GB."""

HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

MTLS: Final = "mtls"
"""In the metadata by which Envoy chooses an endpoint's transport socket: the endpoint has a proxy."""
METADATA: Final = "weft"
"""The key of our provenance in Envoy's ``filter_metadata``."""


def address(value: Address, mode: int = 0) -> core.Address:
    """A unix socket (``mode`` for those that Envoy creates) or an IP address with a port."""
    if value.path:
        return core.Address(pipe=core.Pipe(path=value.path, mode=mode))
    return core.Address(socket_address=core.SocketAddress(address=value.ip, port_value=value.port))


def ads(initial_fetch_milliseconds: int | None = None) -> core.ConfigSource:
    """The one stream to the control plane. How long to wait for a first answer is Envoy's 15 s unless given."""
    wait = None if initial_fetch_milliseconds is None else api.duration(initial_fetch_milliseconds)
    return core.ConfigSource(
        ads=core.AggregatedConfigSource(), resource_api_version=core.ApiVersion.V3, initial_fetch_timeout=wait
    )


def provenance(source: str) -> core.Metadata | None:
    """The metadata that names the user's object; None when nobody's object made it."""
    return core.Metadata(filter_metadata={METADATA: api.struct({"source": source})}) if source else None


def resource(name: str, message: Message, source: str) -> Resource:
    """A message as it is sent. The version is the hash of its content, the same in every process."""
    packed = api.pack(message)
    version = hashlib.sha256(packed.value).hexdigest()[:16]
    wire = discovery.Resource(name=name, version=version, resource=packed)
    return Resource(name=name, version=version, wire=api.serialize(wire), source=source)


def absent(name: str) -> Resource:
    """The answer "there is none" to a name asked for on demand: Envoy stops waiting and keeps next to nothing."""
    wire = discovery.Resource(name=name, version="absent", aliases=[name])
    return Resource(name=name, version="absent", wire=api.serialize(wire))


def http2(*, lean: bool = False) -> core.Http2ProtocolOptions:
    """HTTP/2 with our windows. ``lean``: between two of our proxies, where a Huffman code costs more than the bytes it saves."""
    made = core.Http2ProtocolOptions(
        initial_stream_window_size=api.uint32(BUFFER_LIMIT_BYTES),
        initial_connection_window_size=api.uint32(1_048_576),
        allow_connect=True,
    )
    if lean:
        made.enable_huffman_encoding.CopyFrom(api.boolean(False))
    return made


def escaped(text: str) -> str:
    """Text for a field in which Envoy would expand ``%COMMANDS%``."""
    return text.replace("%", "%%")
