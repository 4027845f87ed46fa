"""The private descriptor pool that holds Envoy's API, and what the generated packages ask for.

The pool is our own: other libraries register other versions of the same files in protobuf's default pool, and a pool
holds one version of a file. It is read from ``descriptors.bin`` when the first class is wanted and not before, so that
a verb of the command line that builds no Envoy configuration does not pay for it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import Message

DATA: Final = Path(__file__).with_name("descriptors.bin")


@cache
def pool() -> DescriptorPool:
    """The pool that holds Envoy's whole API. Loaded once per process (about 15 ms), immutable from then on."""
    from google.protobuf.descriptor_pool import DescriptorPool  # noqa: PLC0415 - most verbs of the CLI need no protobuf

    from weft.envoy.descriptors import unpacked  # noqa: PLC0415 - as above

    private = DescriptorPool()
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
