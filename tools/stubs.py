"""Generating ``weft/envoy/protos``: one importable module and one typed stub per protobuf package.

The module (``__init__.py``) is four lines that ask ``weft.envoy.pool`` for a class when it is first named. The stub
(``__init__.pyi``) tells mypy every message, field, enum and oneof. Both are made when the package is built and are not
in git.
"""

from __future__ import annotations

import keyword
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT: Final = "weft.envoy.protos"
_F: Final = FieldDescriptorProto
_PYTHON_TYPES: Final = {
    **dict.fromkeys((_F.TYPE_DOUBLE, _F.TYPE_FLOAT), "_b.float"),
    **dict.fromkeys(
        (
            _F.TYPE_INT64,
            _F.TYPE_UINT64,
            _F.TYPE_INT32,
            _F.TYPE_FIXED64,
            _F.TYPE_FIXED32,
            _F.TYPE_UINT32,
            _F.TYPE_SFIXED32,
            _F.TYPE_SFIXED64,
            _F.TYPE_SINT32,
            _F.TYPE_SINT64,
        ),
        "_b.int",
    ),
    _F.TYPE_BOOL: "_b.bool",
    _F.TYPE_STRING: "_b.str",
    _F.TYPE_BYTES: "_b.bytes",
}
# protobuf gives these classes methods beyond those of a message.
_WELL_KNOWN: Final = frozenset({"Any", "Duration", "FieldMask", "ListValue", "Struct", "Timestamp"})

_HEAD: Final = """\
import builtins as _b
import typing as _t
from google.protobuf.descriptor import FieldDescriptor as _FieldDescriptor
from google.protobuf.internal import containers as _c
from google.protobuf.internal import well_known_types as _w
from google.protobuf.message import Message as _Message
"""
# What protobuf's EnumTypeWrapper offers, as the metaclass of the classes that stand for enums in the stubs.
_ENUM: Final = """\
class _Enum(_b.type):
    def Name(cls, number: _b.int) -> _b.str: ...
    def Value(cls: type[_E], name: _b.str) -> _E: ...
    def keys(cls) -> list[_b.str]: ...
    def values(cls: type[_E]) -> list[_E]: ...
    def items(cls: type[_E]) -> list[tuple[_b.str, _E]]: ...
_E = _t.TypeVar("_E")
"""


class _Names:
    """In which package each message and enum lives, by full protobuf name, and which messages are map entries."""

    def __init__(self, files: Iterable[FileDescriptorProto]) -> None:
        self.package: dict[str, str] = {}
        self.maps: dict[str, DescriptorProto] = {}
        for file in files:
            prefix = f".{file.package}"
            self._enums(file.package, prefix, file.enum_type)
            self._messages(file.package, prefix, file.message_type)

    def _enums(self, package: str, prefix: str, enums: Iterable[EnumDescriptorProto]) -> None:
        for enum in enums:
            self.package[f"{prefix}.{enum.name}"] = package

    def _messages(self, package: str, prefix: str, messages: Iterable[DescriptorProto]) -> None:
        for message in messages:
            name = f"{prefix}.{message.name}"
            self.package[name] = package
            if message.options.map_entry:
                self.maps[name] = message
            self._enums(package, name, message.enum_type)
            self._messages(package, name, message.nested_type)


def generate(files: FileDescriptorSet) -> dict[str, str]:
    """Path below ``protos/`` to text, for every package and every folder above one."""
    by_package: dict[str, list[FileDescriptorProto]] = defaultdict(list)
    for file in files.file:
        by_package[file.package].append(file)
    names = _Names(files.file)
    result = {
        "__init__.py": '"""Envoy\'s protobuf packages, made from the pinned Envoy binary when weft is built."""\n'
    }
    for package in sorted(by_package):
        segments = package.split(".")
        if bad := [segment for segment in segments if keyword.iskeyword(segment)]:
            raise ValueError(f"protobuf package {package}: {bad[0]} cannot be the name of a Python module")
        for depth in range(1, len(segments)):
            above = ".".join(segments[:depth])
            if above not in by_package:
                folder = "/".join(segments[:depth])
                result[f"{folder}/__init__.py"] = f'"""Protobuf packages below {above}."""\n'
        folder = "/".join(segments)
        result[f"{folder}/__init__.py"] = _module(package)
        result[f"{folder}/__init__.pyi"] = _Stub(package, names).text(by_package[package])
    return result


def _module(package: str) -> str:
    return (
        f'"""The protobuf package {package} of the pinned Envoy; the .pyi file beside it says what is in it."""\n\n'
        "from weft.envoy.pool import package as _package\n\n"
        f'__getattr__ = _package("{package}", globals())\n'
    )


class _Stub:
    """Writes the stub of one package."""

    def __init__(self, package: str, names: _Names) -> None:
        self._package = package
        self._names = names
        self._imports: set[str] = set()

    def text(self, files: list[FileDescriptorProto]) -> str:
        body: list[str] = []
        for file in files:
            for enum in file.enum_type:
                body += self._enum(enum, enum.name)
            for message in file.message_type:
                body += self._message(message, message.name)
            body += [f"{extension.name}: _FieldDescriptor" for extension in file.extension]
        imports = [f"import {ROOT}.{name} as {_alias(name)}" for name in sorted(self._imports)]
        return "\n".join([_HEAD + "\n".join(imports), _ENUM, *body, ""])

    def _enum(self, enum: EnumDescriptorProto, path: str) -> Iterator[str]:
        yield f"class {enum.name}(_b.int, metaclass=_Enum):"
        for value in enum.value:
            if not keyword.iskeyword(value.name):
                yield f"    {value.name}: {self._type_name(f'.{self._package}.{path}')}"

    def _message(self, message: DescriptorProto, path: str) -> Iterator[str]:
        known = self._package == "google.protobuf" and path in _WELL_KNOWN
        yield f"class {message.name}(_Message{f', _w.{path}' if known else ''}):"
        yield from _indented(self._members(message, path))

    def _members(self, message: DescriptorProto, path: str) -> Iterator[str]:
        for enum in message.enum_type:
            yield from self._enum(enum, f"{path}.{enum.name}")
            for value in enum.value:
                if not keyword.iskeyword(value.name):
                    yield f"{value.name}: {self._type_name(f'.{self._package}.{path}.{enum.name}')}"
        for nested in message.nested_type:
            if not nested.options.map_entry:
                yield from self._message(nested, f"{path}.{nested.name}")
        for extension in message.extension:
            yield f"{extension.name}: _FieldDescriptor"
        fields = [field for field in message.field if not keyword.iskeyword(field.name)]
        for field in fields:
            yield from self._attribute(field)
        arguments = ", ".join(f"{field.name}: {self._argument(field)} | None = ..." for field in fields)
        me = "_me" if any(field.name == "self" for field in fields) else "self"
        yield f"def __init__({me}{f', *, {arguments}' if arguments else ''}) -> None: ..."
        yield from self._presence(message)

    def _attribute(self, field: FieldDescriptorProto) -> Iterator[str]:
        if entry := self._names.maps.get(field.type_name):
            key, value = (self._scalar(part) for part in entry.field)
            container = "MessageMap" if entry.field[1].type == _F.TYPE_MESSAGE else "ScalarMap"
            result = f"_c.{container}[{key}, {value}]"
        elif field.label == _F.LABEL_REPEATED:
            container = (
                "RepeatedCompositeFieldContainer" if field.type == _F.TYPE_MESSAGE else "RepeatedScalarFieldContainer"
            )
            result = f"_c.{container}[{self._scalar(field)}]"
        elif field.type == _F.TYPE_MESSAGE:
            result = self._scalar(field)
        else:
            yield f"{field.name}: {self._scalar(field)}"
            return
        yield "@_b.property"
        yield f"def {field.name}(self) -> {result}: ..."

    def _argument(self, field: FieldDescriptorProto) -> str:
        if entry := self._names.maps.get(field.type_name):
            key, value = (self._scalar(part) for part in entry.field)
            return f"_t.Mapping[{key}, {value}]"
        scalar = self._scalar(field)
        return f"_t.Iterable[{scalar}]" if field.label == _F.LABEL_REPEATED else scalar

    def _presence(self, message: DescriptorProto) -> Iterator[str]:
        oneofs: dict[str, list[str]] = {}
        has: list[str] = []
        for field in message.field:
            if field.HasField("oneof_index"):
                oneofs.setdefault(message.oneof_decl[field.oneof_index].name, []).append(field.name)
            if field.label != _F.LABEL_REPEATED and (field.type == _F.TYPE_MESSAGE or field.HasField("oneof_index")):
                has.append(field.name)
        present = _literal([*has, *(name for name in oneofs if not name.startswith("_"))])
        yield f"def HasField(self, field_name: {present}) -> _b.bool: ..."
        yield f"def ClearField(self, field_name: {_literal([*(f.name for f in message.field), *oneofs])}) -> None: ..."
        for name, members in oneofs.items():
            if len(oneofs) > 1:
                yield "@_t.overload"
            yield f"def WhichOneof(self, oneof_group: {_literal([name])}) -> {_literal(members)} | None: ..."
        if not oneofs:
            yield "def WhichOneof(self, oneof_group: _t.Never) -> None: ..."

    def _scalar(self, field: FieldDescriptorProto) -> str:
        return _PYTHON_TYPES.get(field.type) or self._type_name(field.type_name)

    def _type_name(self, full_name: str) -> str:
        """How this stub names a message or enum. Always through an import, so that no field or nested name hides it."""
        package = self._names.package[full_name]
        self._imports.add(package)
        return f"{_alias(package)}.{full_name[len(package) + 2 :]}"


def _alias(package: str) -> str:
    return "_" + package.replace(".", "_")


def _literal(names: list[str]) -> str:
    return f"_t.Literal[{', '.join(repr(name) for name in names)}]" if names else "_t.Never"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield f"    {line}"
