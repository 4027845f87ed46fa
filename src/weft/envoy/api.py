"""What every builder needs besides Envoy's message classes: deterministic bytes, ``Any`` and the well-known types.

Builders import the generated packages, one per protobuf package, and write Envoy's own words; mypy checks each::

    from weft.envoy.protos.envoy.config.cluster import v3 as cluster
    cluster.Cluster(name="shop", type=cluster.Cluster.EDS, connect_timeout=api.duration(1000))

A message of protobuf's default pool (``google.protobuf.duration_pb2.Duration``) does not fit into a message of ours;
the classes in ``weft.envoy.protos.google.protobuf`` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from weft.envoy.pool import message_class, pool
from weft.envoy.protos.google import protobuf as wkt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")

PREFIX: Final = "type.googleapis.com/"


def serialize(message: Message) -> bytes:
    """The one serialisation that weft sends and hashes: equal messages give equal bytes, in every process."""
    return message.SerializeToString(deterministic=True)


def type_url(message: Message | type[Message]) -> str:
    """The xDS type of a message or class, such as ``type.googleapis.com/envoy.config.cluster.v3.Cluster``."""
    return PREFIX + message.DESCRIPTOR.full_name


def pack(message: Message) -> wkt.Any:
    """A message inside ``google.protobuf.Any``, serialised deterministically."""
    return wkt.Any(type_url=type_url(message), value=serialize(message))


def unpack(packed: wkt.Any) -> Message | None:
    """The message inside an ``Any``, or None when this Envoy does not know its type.

    Raises ``google.protobuf.message.DecodeError`` when the bytes are not one of that type.
    """
    try:
        cls = message_class(packed.type_url.rpartition("/")[2])
    except KeyError:
        return None
    return cls.FromString(packed.value)


def unpack_as(cls: type[M], packed: wkt.Any) -> M:
    """The message of class ``cls`` inside an ``Any``. Raises ``TypeError`` when it holds another type."""
    if packed.type_url.rpartition("/")[2] != cls.DESCRIPTOR.full_name:
        raise TypeError(f"holds a {packed.type_url}, not a {cls.DESCRIPTOR.full_name}")
    return cls.FromString(packed.value)


def duration(milliseconds: int) -> wkt.Duration:
    """A ``Duration`` of so many milliseconds, negative ones included."""
    seconds, rest = divmod(abs(milliseconds), 1000)
    sign = -1 if milliseconds < 0 else 1
    return wkt.Duration(seconds=sign * seconds, nanos=sign * rest * 1_000_000)


def uint32(value: int) -> wkt.UInt32Value:
    """A number that can be absent. Raises ``ValueError`` outside 0 to 2**32-1, as do all of protobuf's numbers."""
    return wkt.UInt32Value(value=value)


def uint64(value: int) -> wkt.UInt64Value:
    return wkt.UInt64Value(value=value)


def boolean(value: bool) -> wkt.BoolValue:
    """A truth value that can be absent."""
    return wkt.BoolValue(value=value)


def string(value: str) -> wkt.StringValue:
    """A text that can be absent."""
    return wkt.StringValue(value=value)


def double(value: float) -> wkt.DoubleValue:
    """A floating-point number that can be absent."""
    return wkt.DoubleValue(value=value)


def struct(mapping: Mapping[str, Any]) -> wkt.Struct:
    """A ``Struct`` of JSON-like values: None, bool, int, float, str, mappings and sequences of them.

    Raises ``TypeError`` for anything else. Source: google/protobuf/struct.proto.
    """
    return wkt.Struct(fields={key: value(item) for key, item in mapping.items()})


def value(item: Any) -> wkt.Value:  # noqa: ANN401 - JSON-like, checked here
    """One JSON-like value as a ``Value``; see ``struct``."""
    make = wkt.Value
    match item:
        case None:
            return make(null_value=wkt.NullValue.Value("NULL_VALUE"))
        case bool():
            return make(bool_value=item)
        case int() | float():
            return make(number_value=item)
        case str():
            return make(string_value=item)
        case list() | tuple():
            return make(list_value=_list(item))
        case dict():
            return make(struct_value=struct(item))
        case _:
            raise TypeError(f"not a JSON value: {item!r}")


def _list(items: Sequence[Any]) -> wkt.ListValue:
    return wkt.ListValue(values=[value(item) for item in items])


def to_json(message: Message) -> dict[str, Any]:
    """A message as the JSON mapping that Envoy's documentation and admin interface show, with protobuf field names."""
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - start-up time

    return MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool())


def from_json(cls: type[M], mapping: Mapping[str, Any]) -> M:
    """The inverse of ``to_json``. Raises ``google.protobuf.json_format.ParseError`` for what is not such a message."""
    from google.protobuf.json_format import ParseDict  # noqa: PLC0415 - start-up time

    return ParseDict(dict(mapping), cls(), descriptor_pool=pool())
