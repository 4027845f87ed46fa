"""Composed YAML nodes to plain data: the core schema, duplicate keys, aliases and merges within their limits, no tags.

A value is made once and shared by its aliases; nothing changes it afterwards. Building stops when a limit is passed: the
document is refused anyway.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec
import yaml

from weft.api.scalars import CORE_MAP, CORE_SCALARS, CORE_SEQ, plain, tagged

MAX_DEPTH: Final = 100
"""Mappings and lists inside each other."""

MAX_ALIASED: Final = 10_000
"""Values that the aliases of one document may stand for, together."""

MAX_NODES: Final = 500_000
"""Keys and values of one document; composing needs some 400 bytes for each."""

MAX_FAULTS: Final = 100
"""Faults reported of one document: enough to mend, and a hostile file cannot make a million."""


class Mark(Protocol):
    """PyYAML's place, both from 0."""

    line: int
    column: int


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong with a text, at a line and a column of it, both from 1.

    ``first``: where a key stood before.
    """

    code: str
    message: str
    remedy: str
    line: int
    column: int
    first: tuple[int, int] | None = None


def fault_at(code: str, message: str, remedy: str, mark: Mark) -> Fault:
    return Fault(code, message, remedy, mark.line + 1, mark.column + 1)


def too_deep(mark: Mark) -> Fault:
    message = f"more than {MAX_DEPTH} mappings and lists inside each other"
    return fault_at("WFT-1002", message, "Nest less deeply; no object needs this much", mark)


class _Made(msgspec.Struct, frozen=True):
    """A value that aliases may repeat: how many nodes it has, and how many levels are below it, -1 for a scalar."""

    value: object
    nodes: int
    height: int


_BEING_MADE: Final = _Made(None, 0, 0)


class Build:
    """Nodes to plain data. ``faults`` fills up on the way; nothing is raised."""

    def __init__(self, *, aliases: bool) -> None:
        self.faults: list[Fault] = []
        self._made: dict[int, _Made] | None = {} if aliases else None
        self._nodes = self._aliased = self._deepest = 0
        self._stopped = False
        """Nothing more is built: the document is refused anyway, and going on could take long."""

    def __call__(self, node: yaml.Node, depth: int) -> object:
        """The value of a node. Shared by its aliases: a value is made once and never changed."""
        made = self._made
        if self._stopped:
            return None
        if made is None:
            return self._value(node, depth)
        if id(node) in made:
            return self._alias(node, depth, made[id(node)])
        made[id(node)] = _BEING_MADE
        before, outer = self._nodes, self._deepest
        self._deepest = depth if isinstance(node, yaml.CollectionNode) else depth - 1
        self._nodes += 1
        value = self._value(node, depth)
        made[id(node)] = _Made(value, self._nodes - before, self._deepest - depth)
        self._deepest = max(outer, self._deepest)
        return value

    def _alias(self, node: yaml.Node, depth: int, made: _Made) -> object:
        if made is _BEING_MADE:
            self._add("WFT-1003", "an alias stands inside what it refers to", "Write the value out", node)
            return None
        self._nodes += made.nodes
        self._aliased += made.nodes
        self._deepest = max(self._deepest, depth + made.height)
        if self._aliased > MAX_ALIASED:
            self._stopped = True
            message = f"the aliases of the document stand for more than {MAX_ALIASED:,} values"
            self._add("WFT-1003", message, "Write fewer aliases, or the values themselves", node)
        elif self._deepest > MAX_DEPTH:
            self._stopped = True
            self._append(too_deep(node.start_mark))
        return made.value

    def _add(self, code: str, message: str, remedy: str, node: yaml.Node) -> None:
        self._append(fault_at(code, message, remedy, node.start_mark))

    def _append(self, fault: Fault) -> None:
        self.faults.append(fault)
        self._stopped = self._stopped or len(self.faults) >= MAX_FAULTS

    def _value(self, node: yaml.Node, depth: int) -> object:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if depth > MAX_DEPTH:
            self._append(too_deep(node.start_mark))
            self._stopped = True
            return None
        if isinstance(node, yaml.MappingNode):
            if node.tag != CORE_MAP:
                self._tag(node)
            return self._mapping(node, depth)
        if node.tag != CORE_SEQ:
            self._tag(node)
        return [self(item, depth + 1) for item in node.value]

    def _scalar(self, node: yaml.ScalarNode) -> object:
        tag = node.tag
        if tag == "plain":
            return plain(node.value)
        if tag == "text":
            return node.value
        if tag not in CORE_SCALARS:
            self._tag(node)
            return None
        try:
            return tagged(tag, node.value)
        except ValueError as error:
            self._add("WFT-1007", f"{node.value[:40]!r} is no {error} of the core schema", "Remove the tag", node)
            return None

    def _tag(self, node: yaml.Node) -> None:
        shown = node.tag.replace("tag:yaml.org,2002:", "!!")[:80]
        self._add("WFT-1007", f"tag {shown} is not allowed", "Remove the tag; write plain values", node)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, object]:
        mapping: dict[str, object] = {}
        merges: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if self._stopped:
                break
            if is_merge(key_node):
                merges.append(value_node)
                continue
            value = self(value_node, depth + 1)
            if not isinstance(key_node, yaml.ScalarNode) or (key_node.tag == "plain" and key_node.value in ("", "~")):
                self._add("WFT-1004", "a key must be text", "Write the key as a plain word, or quote it", key_node)
                continue
            key = key_node.value
            if key in mapping:
                self._duplicate(key, key_node, node)
            mapping[key] = value
        for merge in merges:
            self._merge(mapping, merge, depth)
        return mapping

    def _duplicate(self, key: str, second: yaml.Node, parent: yaml.MappingNode) -> None:
        first = next(found.start_mark for found, _ in parent.value if found.value == key)
        fault = fault_at("WFT-1005", f"key {key[:80]!r} is written twice", "Keep one of the two", second.start_mark)
        self._append(msgspec.structs.replace(fault, first=(first.line + 1, first.column + 1)))

    def _merge(self, mapping: dict[str, object], node: yaml.Node, depth: int) -> None:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                self._add(
                    "WFT-1004", "'<<' merges mappings only", "Give it an alias of a mapping, or a list of them", source
                )
                continue
            value = self(source, depth)
            if isinstance(value, dict):
                for key, merged in value.items():
                    mapping.setdefault(key, merged)


def is_merge(key: yaml.Node) -> bool:
    return key.tag == "plain" and key.value == "<<"
