"""Envoy's message classes, from a private descriptor pool, and the few helpers that every builder needs.

Builders import the generated packages, one per protobuf package, and write Envoy's own words; mypy checks each of them::

    from weft.envoy.protos.envoy.config.cluster import v3 as cluster
    cluster.Cluster(name="shop", type=cluster.Cluster.EDS, connect_timeout=api.duration(1000))

Those packages ask this module, which reads ``descriptors.bin`` the first time a class is wanted and not before. The pool
is our own: other libraries register other versions of the same files in protobuf's default pool, and a process can hold
only one version of a file per pool. A message of the default pool (``google.protobuf.duration_pb2.Duration``) therefore
does not fit into a message of ours; the classes in ``weft.envoy.protos.google.protobuf`` do.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import Message

    from weft.envoy.protos.google import protobuf as wkt

M = TypeVar("M", bound="Message")

DATA: Final = Path(__file__).with_name("descriptors.bin")
PREFIX: Final = "type.googleapis.com/"


@cache
def pool() -> DescriptorPool:
    """The pool that holds Envoy's whole API. Loaded once per process (about 15 ms), immutable from then on."""
    from google.protobuf.descriptor_pool import DescriptorPool  # noqa: PLC0415 - most verbs of the CLI need no protobuf

    from weft.envoy.descriptors import unpacked  # noqa: PLC0415 - as above

    # A pool of one's own has a constructor that types-protobuf does not annotate.
    private = DescriptorPool()  # type: ignore[no-untyped-call]
    for file in unpacked(DATA.read_bytes()).file:
        private.AddSerializedFile(file.SerializeToString())
    return private


@cache
def message_class(full_name: str) -> type[Message]:
    """The class of a message such as ``envoy.config.cluster.v3.Cluster``. Raises ``KeyError`` if Envoy has none."""
    from google.protobuf.message_factory import GetMessageClass  # noqa: PLC0415 - start-up time

    return GetMessageClass(pool().FindMessageTypeByName(full_name))


def package(name: str, namespace: dict[str, Any]) -> Callable[[str], Any]:
    """The ``__getattr__`` of the generated module of one protobuf package: finds a class when it is first named.

    ``namespace`` is the module's dictionary; what was found is kept there, so that it is found once.
    """

    def attribute(attribute_name: str) -> Any:  # noqa: ANN401 - what it is stands in the .pyi file beside the module
        if attribute_name.startswith("_") or (found := _member(f"{name}.{attribute_name}")) is None:
            raise AttributeError(f"the protobuf package {name} of this Envoy has no {attribute_name}")
        namespace[attribute_name] = found
        return found

    return attribute


def _member(full_name: str) -> object | None:
    """A top-level message class, enum wrapper or extension, or None."""
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper  # noqa: PLC0415 - start-up time

    try:
        return message_class(full_name)
    except KeyError:
        pass
    try:
        return EnumTypeWrapper(pool().FindEnumTypeByName(full_name))
    except KeyError:
        pass
    try:
        return pool().FindExtensionByName(full_name)
    except KeyError:
        return None


def serialize(message: Message) -> bytes:
    """The one serialisation that weft sends and hashes: equal messages give equal bytes, in every process."""
    return message.SerializeToString(deterministic=True)


def type_url(message: Message | type[Message]) -> str:
    """The xDS type of a message or class, such as ``type.googleapis.com/envoy.config.cluster.v3.Cluster``."""
    return PREFIX + message.DESCRIPTOR.full_name


def pack(message: Message) -> wkt.Any:
    """A message inside ``google.protobuf.Any``, serialised deterministically."""
    return _wkt().Any(type_url=type_url(message), value=serialize(message))


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
    """A ``Duration`` of so many milliseconds, which may be negative nowhere in Envoy's API but is not refused here."""
    seconds, rest = divmod(abs(milliseconds), 1000)
    sign = -1 if milliseconds < 0 else 1
    return _wkt().Duration(seconds=sign * seconds, nanos=sign * rest * 1_000_000)


def uint32(value: int) -> wkt.UInt32Value:
    """A number that can be absent. Raises ``ValueError`` outside 0 to 2**32-1, as do all of protobuf's numbers."""
    return _wkt().UInt32Value(value=value)


def uint64(value: int) -> wkt.UInt64Value:
    return _wkt().UInt64Value(value=value)


def boolean(value: bool) -> wkt.BoolValue:  # noqa: FBT001 - the value is all there is
    """A truth value that can be absent."""
    return _wkt().BoolValue(value=value)


def string(value: str) -> wkt.StringValue:
    """A text that can be absent."""
    return _wkt().StringValue(value=value)


def double(value: float) -> wkt.DoubleValue:
    """A floating-point number that can be absent."""
    return _wkt().DoubleValue(value=value)


def struct(mapping: Mapping[str, Any]) -> wkt.Struct:
    """A ``Struct`` of JSON-like values: None, bool, int, float, str, mappings and sequences of them.

    Raises ``TypeError`` for anything else. Source: google/protobuf/struct.proto.
    """
    return _wkt().Struct(fields={key: value(item) for key, item in mapping.items()})


def value(item: Any) -> wkt.Value:  # noqa: ANN401 - JSON-like, checked here
    """One JSON-like value as a ``Value``; see ``struct``."""
    make = _wkt().Value
    match item:
        case None:
            return make(null_value=_wkt().NullValue.Value("NULL_VALUE"))
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
    return _wkt().ListValue(values=[value(item) for item in items])


def to_json(message: Message) -> dict[str, Any]:
    """A message as the JSON mapping that Envoy's documentation and admin interface show, with protobuf field names."""
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - start-up time

    return MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool())


def from_json(cls: type[M], mapping: Mapping[str, Any]) -> M:
    """The inverse of ``to_json``. Raises ``google.protobuf.json_format.ParseError`` for what is not such a message."""
    from google.protobuf.json_format import ParseDict  # noqa: PLC0415 - start-up time

    return ParseDict(dict(mapping), cls(), descriptor_pool=pool())


@cache
def _wkt() -> type[wkt] | Any:  # noqa: ANN401 - a module has no type of its own; the callers above state what they return
    from weft.envoy.protos.google import protobuf  # noqa: PLC0415 - generated, and loads the pool

    return protobuf
