"""Checking a message against the ``validate.rules`` of Envoy's own files, before Envoy does.

Envoy refuses a whole response, good resources included, when one message in it breaks such a rule. So every resource is
checked here first, and all that is wrong with it is said at once, where Envoy stops at the first.

A ``Validator`` compiles the rules of a message type when it first meets it and keeps them; messages inside
``google.protobuf.Any`` are checked too when their type is one of this Envoy's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from weft.envoy import api, rules
from weft.envoy.pool import message_class, pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.descriptor import Descriptor, OneofDescriptor
    from google.protobuf.message import Message

    from weft.envoy.rules import FieldRules, Rule, Value

Path: TypeAlias = "tuple[Path, str] | None"
"""A field path from its end: the path of what is around it, and one step. Made text only when something is wrong."""

Check: TypeAlias = "Callable[[Value, Path], Iterator[Violation]]"

_ANY: Final = "google.protobuf.Any"


class Violation(msgspec.Struct, frozen=True):
    """One rule that one field breaks. ``field`` is a path such as ``endpoints[0].priority``, ``rule`` a name such as
    ``uint32.lte`` or ``required``, and ``message`` reads ``must be at most 128, is 200``.
    """

    field: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class Checker(msgspec.Struct, frozen=True):
    """What there is to check in messages of one type."""

    present: dict[int, Check]
    """By field number: for a field that is set."""
    absent: tuple[tuple[FieldDescriptor, tuple[Violation, ...]], ...]
    """Fields that may not be left out, with what to say then; ``field`` of these violations is the field's own name."""
    oneofs: tuple[str, ...]
    """Those of which one member must be set."""


class Validator:
    """Checks messages; remembers the rules of the types that it met. Belongs to one task."""

    def __init__(self) -> None:
        self._checkers: dict[str, Checker] = {}

    def violations(self, message: Message) -> tuple[Violation, ...]:
        """Everything in a message of this Envoy's API that breaks one of its rules: set fields first, then absent ones.

        Raises ``UnknownRuleError`` when the type uses a kind of rule that this module does not know.
        """
        return tuple(self._message(message, None))

    def checker(self, full_name: str) -> Checker:
        """The compiled rules of one message type. Raises ``KeyError`` if Envoy has none of that name."""
        checker = self._checkers.get(full_name)
        if checker is None:
            checker = self._checkers[full_name] = self._compiled(pool().FindMessageTypeByName(full_name))
        return checker

    def _message(self, message: Message, path: Path) -> Iterator[Violation]:
        checker = self.checker(message.DESCRIPTOR.full_name)
        present = checker.present
        for field, value in message.ListFields():
            check = present.get(field.number)
            if check is not None:
                yield from check(value, (path, field.name))
        for field, violations in checker.absent:
            if not (message.HasField(field.name) if field.has_presence else getattr(message, field.name)):
                for violation in violations:
                    yield msgspec.structs.replace(violation, field=_text((path, field.name)))
        for name in checker.oneofs:
            if message.WhichOneof(name) is None:
                yield Violation(_text((path, name)), "required", "one of its fields must be set")

    def _any(self, packed: Value, path: Path) -> Iterator[Violation]:
        try:
            message = api.unpack(packed)
        except DecodeError:
            yield Violation(_text(path), "any", f"does not hold a {packed.type_url}")
            return
        if message is not None:
            yield from self._message(message, path)

    def _compiled(self, descriptor: Descriptor) -> Checker:
        present: dict[int, Check] = {}
        absent: list[tuple[FieldDescriptor, tuple[Violation, ...]]] = []
        for field in descriptor.fields:
            field_rules = _rules(field)
            if check := self._check(field, field_rules):
                present[field.number] = check
            if violations := _without(field, field_rules):
                absent.append((field, violations))
        oneofs = tuple(oneof.name for oneof in descriptor.oneofs if _required(oneof))
        return Checker(present=present, absent=tuple(absent), oneofs=oneofs)

    def _check(self, field: FieldDescriptor, field_rules: FieldRules) -> Check | None:
        """The check of one field that is set, or None when nothing about it can be wrong."""
        own = _own(field_rules, field.message_type)
        if field.is_repeated:
            inner = self._entries(field, field_rules) if _is_map(field) else self._items(field, field_rules)
        else:
            inner = self._inside(field, field_rules)
        if own is None or inner is None:
            return own or inner

        def both(value: Value, path: Path) -> Iterator[Violation]:
            yield from own(value, path)
            yield from inner(value, path)

        return both

    def _inside(self, field: FieldDescriptor, field_rules: FieldRules) -> Check | None:
        """What recursion into one value finds."""
        inner = field.message_type
        if inner is None or field_rules.skip or inner.full_name in _LEAVES:
            return None
        return self._any if inner.full_name == _ANY else self._message

    def _items(self, field: FieldDescriptor, field_rules: FieldRules) -> Check | None:
        item_rules = field_rules.items or rules.NO_RULES
        checks = [check for check in (_own(item_rules, field.message_type), self._inside(field, item_rules)) if check]
        if not checks:
            return None

        def items(values: Value, path: Path) -> Iterator[Violation]:
            for index, value in enumerate(values):
                for check in checks:
                    yield from check(value, (path, f"[{index}]"))

        return items

    def _entries(self, field: FieldDescriptor, field_rules: FieldRules) -> Check | None:
        key_check = _own(field_rules.keys or rules.NO_RULES, None)
        value_field = _value_of(field)
        value_check = self._check(value_field, field_rules.values or rules.NO_RULES)
        if key_check is None and value_check is None:
            return None

        def entries(mapping: Value, path: Path) -> Iterator[Violation]:
            for key in sorted(mapping):
                place = (path, f"[{key!r}]")
                if key_check:
                    yield from key_check(key, place)
                if value_check:
                    yield from value_check(mapping[key], place)

        return entries


# Messages that hold one value, which rules are about; and all that have no fields with rules of their own.
_WRAPPERS: Final = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Bool", "Bytes", "Double", "Float", "String", "Int32", "Int64", "UInt32", "UInt64")
)
_LEAVES: Final = _WRAPPERS | frozenset(
    f"google.protobuf.{name}"
    for name in ("Duration", "Timestamp", "Struct", "Value", "ListValue", "Empty", "FieldMask")
)


def _own(field_rules: FieldRules, message_type: Descriptor | None) -> Check | None:
    """The check of a value's own rules. A wrapper such as ``UInt32Value`` is checked by what it holds."""
    own = field_rules.rules
    if not own:
        return None
    ignore_empty = field_rules.ignore_empty
    wrapped = message_type is not None and message_type.full_name in _WRAPPERS

    def check(value: Value, path: Path) -> Iterator[Violation]:
        plain = value.value if wrapped else value
        if not (ignore_empty and not plain):
            for rule in own:
                if not rule.holds(plain):
                    yield Violation(_text(path), rule.name, f"must {rule.says}{_is(rule, plain)}")

    return check


def _without(field: FieldDescriptor, field_rules: FieldRules) -> tuple[Violation, ...]:
    """What is wrong when a field is not set: it is required, or the value that it then has breaks a rule.

    Rules of a oneof's member are about that member when it is the one that is set.
    """
    if field.containing_oneof is not None:
        return ()
    if field_rules.required:
        return (Violation("", "required", "must be set"),)
    if field.has_presence or field_rules.ignore_empty:
        return ()
    default: Value = () if field.is_repeated else field.default_value
    return tuple(
        Violation("", rule.name, f"must {rule.says}{_is(rule, default)}")
        for rule in field_rules.rules
        if not rule.holds(default)
    )


def _is(rule: Rule, value: Value) -> str:
    """The value as the end of the sentence; nothing where it is long or says nothing."""
    kind = rule.name.partition(".")[0]
    if kind in {"repeated", "map", "bytes"}:
        return f", has {len(value)}" if "_" in rule.name else ""
    shown = f"{rules.seconds(value)} s" if kind == "duration" else repr(value)
    return f", is {shown}" if len(shown) <= 100 else f", is {shown[:80]}..."


def _rules(field: FieldDescriptor) -> FieldRules:
    option = _option(field, "google.protobuf.FieldOptions", "validate.rules")
    if option is None:
        return rules.NO_RULES
    inner = _value_of(field) if _is_map(field) else field
    numbers = frozenset(value.number for value in inner.enum_type.values) if inner.enum_type else frozenset[int]()
    return rules.compiled(option, numbers)


def _required(oneof: OneofDescriptor) -> bool:
    return bool(_option(oneof, "google.protobuf.OneofOptions", "validate.required"))


def _option(of: FieldDescriptor | OneofDescriptor, options: str, name: str) -> Value:
    """An extension of an option message, or None. Options are read again with the classes of our own pool, because
    protobuf reads them with those of its default pool, which knows no such extension."""
    message: Value = message_class(options).FromString(of.GetOptions().SerializeToString())
    extension = pool().FindExtensionByName(name)
    return message.Extensions[extension] if message.HasExtension(extension) else None


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _value_of(map_field: FieldDescriptor) -> FieldDescriptor:
    """The values of a map, as a field of the entries that protobuf makes of it."""
    entry: Value = map_field.message_type
    found: FieldDescriptor = entry.fields_by_name["value"]
    return found


def _text(path: Path) -> str:
    """A path as a reader knows it: ``endpoints[0].lb_endpoints[2].endpoint.address``."""
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(step)
    return "".join(
        step if step.startswith("[") or not index else f".{step}" for index, step in enumerate(reversed(steps))
    )
