"""The rules of protoc-gen-validate, as predicates with words.

Envoy's protobuf files carry a ``validate.rules`` option beside most fields. Here each kind of rule is turned into a
function once, when the first message with it is met. The kinds are those that the pinned Envoy's files use; a test
compiles every message that Envoy has, so that a new Envoy with a new kind of rule fails there, and is not checked less.

Source: validate/validate.proto, and the C++ that protoc-gen-validate makes of it, which is what Envoy runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
import re2

if TYPE_CHECKING:
    from google.protobuf.message import Message

Value: TypeAlias = Any
"""A field's value or a rule's argument; its type depends on the field and is checked by protobuf."""

Worded: TypeAlias = tuple[str, Callable[[Value], bool]]
"""What a rule says, to follow "must ", and whether it holds for a value."""


class UnknownRuleError(Exception):
    """Envoy's files use a kind of rule that is not known here: a gap of this module, not of the message."""


class Rule(msgspec.Struct, frozen=True):
    """One rule of one field. ``name`` as in validate.proto (``uint32.lte``); ``says`` follows "must ", for a reader."""

    name: str
    says: str
    holds: Callable[[Value], bool]


class FieldRules(msgspec.Struct, frozen=True):
    """What the option beside one field says. ``rules`` are for the value; items, keys and values have their own."""

    rules: tuple[Rule, ...] = ()
    required: bool = False
    skip: bool = False
    ignore_empty: bool = False
    items: FieldRules | None = None
    keys: FieldRules | None = None
    values: FieldRules | None = None


NO_RULES: Final = FieldRules()


def compiled(option: Message, defined: frozenset[int] = frozenset()) -> FieldRules:
    """The rules in one ``validate.FieldRules`` message; ``defined`` are the numbers of the field's enum, if it is one.

    Raises ``UnknownRuleError``.
    """
    rules: list[Rule] = []
    settings: dict[str, Value] = {}
    for kind, of_kind in option.ListFields():
        if _outside(kind.name, of_kind):
            return FieldRules(rules=(_either(kind.name, of_kind),))
        for field, argument in of_kind.ListFields():
            if field.name in {"items", "keys", "values"}:
                settings[field.name] = compiled(argument, defined)
            elif field.name in {"required", "skip", "ignore_empty"}:
                settings[field.name] = argument
            elif field.name != "strict":  # which only says how to read well_known_regex
                rules.append(
                    _rule(kind.name, field.name, defined if field.name == "defined_only" else argument, of_kind)
                )
    return FieldRules(rules=tuple(rules), **settings)


def _outside(kind: str, option: Value) -> bool:
    """Whether the lower bound is above the upper one: then a value must keep one of the two, not both."""
    bounds = {field.name: argument for field, argument in option.ListFields() if field.name in _ORDER}
    upper, lower = bounds.get("lte", bounds.get("lt")), bounds.get("gte", bounds.get("gt"))
    if upper is None or lower is None:
        return False
    return bool(seconds(upper) < seconds(lower) if kind == "duration" else upper < lower)


def _either(kind: str, option: Value) -> Rule:
    """The rule of a range that is what lies outside of it. Such an option says nothing else, or it is not understood."""
    sides = [_rule(kind, field.name, argument, option) for field, argument in option.ListFields()]
    if len(sides) != 2:
        raise UnknownRuleError(f"{kind}: a range from the outside, and more")
    one, other = sides

    def holds(value: Value) -> bool:
        return one.holds(value) or other.holds(value)

    return Rule(name=f"{kind}.range", says=f"{one.says} or {other.says}", holds=holds)


def _rule(kind: str, name: str, argument: Value, option: Value) -> Rule:
    if name == "well_known_regex":
        says, holds = _WELL_KNOWN[(argument, option.strict)]
    elif factory := _KINDS.get(kind, {}).get(name):
        says, holds = factory(argument)
    else:
        raise UnknownRuleError(f"{kind}.{name}")
    return Rule(name=f"{kind}.{name}", says=says, holds=holds)


def _below(limit: Value) -> Worded:
    return f"be less than {limit}", lambda value: bool(value < limit)


def _at_most(limit: Value) -> Worded:
    return f"be at most {limit}", lambda value: bool(value <= limit)


def _above(limit: Value) -> Worded:
    return f"be greater than {limit}", lambda value: bool(value > limit)


def _at_least(limit: Value) -> Worded:
    return f"be at least {limit}", lambda value: bool(value >= limit)


def _equal(wanted: Value) -> Worded:
    return f"be {wanted}".lower(), lambda value: bool(value == wanted)


def _one_of(allowed: Value) -> Worded:
    values = frozenset(allowed)
    return f"be one of {', '.join(map(str, allowed))}", lambda value: value in values


def _none_of(refused: Value) -> Worded:
    values = frozenset(refused)
    return f"be none of {', '.join(map(str, refused))}", lambda value: value not in values


def _defined(numbers: frozenset[int]) -> Worded:
    return "be a value that the enum defines", lambda value: value in numbers


def _sized(word: str, unit: str, measure: Callable[[Value], int]) -> Callable[[int], Worded]:
    """ "have at least/at most so many units", whatever the value's size is measured in."""

    def factory(limit: int) -> Worded:
        says = f"have {word} {limit} {unit if limit == 1 else _PLURALS[unit]}"
        if word == "at least":
            return says, lambda value: measure(value) >= limit
        return says, lambda value: measure(value) <= limit

    return factory


def _prefix(prefix: str) -> Worded:
    return f"begin with {prefix}", lambda value: bool(value.startswith(prefix))


def _suffix(suffix: str) -> Worded:
    return f"end with {suffix}", lambda value: bool(value.endswith(suffix))


def _pattern(pattern: str) -> Worded:
    expression = re2.compile(pattern)
    return f"match {pattern}", lambda value: expression.search(value) is not None


def _unique(_: bool) -> Worded:
    return "not have an item twice", lambda values: len(set(values)) == len(values)


def _of_duration(factory: Callable[[Value], Worded]) -> Callable[[Value], Worded]:
    """A comparison of numbers as one of durations, which protobuf does not order."""

    def compare(limit: Value) -> Worded:
        says, holds = factory(seconds(limit))
        return f"{says} s", lambda value: holds(seconds(value))

    return compare


def seconds(duration: Value) -> int | float:
    """A ``Duration`` as a number: equal durations give equal numbers, and a longer one never a smaller number."""
    return int(duration.seconds) if duration.nanos == 0 else float(duration.seconds + duration.nanos / 1e9)


def _bytes_of(text: str) -> int:
    return len(text.encode())


_PLURALS: Final = MappingProxyType({"character": "characters", "byte": "bytes", "item": "items", "entry": "entries"})
_ORDER: Final[Mapping[str, Callable[[Value], Worded]]] = MappingProxyType(
    {"lt": _below, "lte": _at_most, "gt": _above, "gte": _at_least}
)
_NUMBERS: Final = ("float", "double", "int32", "int64", "uint32", "uint64")
_KINDS: Final[Mapping[str, Mapping[str, Callable[[Value], Worded]]]] = MappingProxyType(
    {
        **dict.fromkeys(_NUMBERS, _ORDER),
        "duration": MappingProxyType({name: _of_duration(factory) for name, factory in _ORDER.items()}),
        "bool": MappingProxyType({"const": _equal}),
        "enum": MappingProxyType({"defined_only": _defined, "not_in": _none_of}),
        "bytes": MappingProxyType(
            {"min_len": _sized("at least", "byte", len), "max_len": _sized("at most", "byte", len)}
        ),
        "string": MappingProxyType(
            {
                "min_len": _sized("at least", "character", len),
                "max_len": _sized("at most", "character", len),
                "max_bytes": _sized("at most", "byte", _bytes_of),
                "prefix": _prefix,
                "suffix": _suffix,
                "pattern": _pattern,
                "in": _one_of,
            }
        ),
        "repeated": MappingProxyType(
            {
                "min_items": _sized("at least", "item", len),
                "max_items": _sized("at most", "item", len),
                "unique": _unique,
            }
        ),
        "map": MappingProxyType({"min_pairs": _sized("at least", "entry", len)}),
    }
)


def _characters(says: str, pattern: str) -> Worded:
    expression = re2.compile(pattern)
    return says, lambda value: expression.search(value) is not None


_HEADER_NAME, _HEADER_VALUE = 1, 2
_NO_LINES: Final = _characters("have no line break and no NUL", r"^[^\x00\n\r]*$")
# (which, strict). Source: validate.proto, KnownRegex; RFC 7230 section 3.2.
_WELL_KNOWN: Final[Mapping[tuple[int, bool], Worded]] = MappingProxyType(
    {
        (_HEADER_NAME, True): _characters("be a header name", r"^:?[0-9a-zA-Z!#$%&'*+,\-.^_|~`]+$"),
        (_HEADER_VALUE, True): _characters("be a header value", r"^[^\x00-\x08\x0A-\x1F\x7F]*$"),
        (_HEADER_NAME, False): _NO_LINES,
        (_HEADER_VALUE, False): _NO_LINES,
    }
)
