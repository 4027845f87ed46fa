"""YAML 1.2 and JSON text to plain data, with limits first and a place for every fault.

PyYAML composes nodes with marks (libyaml where the wheel has it, else Python, with the same result); the values are
made here, by the core schema of YAML 1.2 (``weft.api.scalars``). Beside it:

- A file is split at its document markers before anything is parsed. A ``---`` or ``...`` at the start of a line is a
  marker wherever it stands, inside quotes and block scalars too (YAML 1.2.2, section 9.1.2), so the split is exact
  and a fault in one document cannot reach the next.
- Nesting is bounded before composing: composing recurses in C, and 200 KB of ``[`` would end the process.
- A key written twice is a fault. Keys are text: ``8080:`` is the key ``"8080"``, as Kubernetes reads it.
- Anchors and aliases work within a document, up to ``MAX_ALIASED`` values. The merge key ``<<`` is not in the core
  schema, but kubectl and compose files know it, so it means here what it means there.
- Tags other than the core schema's are faults: nothing is ever constructed from a tag.

Source: YAML 1.2.2; RFC 8259.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
import yaml
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from weft.api.nodes import MAX_DEPTH, MAX_NODES, Build, Fault, Mark, fault_at, is_merge, too_deep
from weft.api.path import Path
from weft.api.scalars import CORE_MAP, CORE_SEQ, integer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

try:
    from yaml._yaml import CParser
except ImportError:  # pragma: no cover - a PyYAML without libyaml: slower, same result
    CParser = None  # type: ignore[assignment,misc]  # the stub knows only wheels that have it

MAX_DOCUMENTS: Final = 50_000
"""Documents of one file."""

_CHEAP_DEPTH: Final = 150
"""Up to this bound on nesting, composing is safe whatever the text says; Python's own composer takes three frames
each.
"""

_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_MARKER: Final = re.compile(r"(?:---|\.\.\.)(?=[ \t\r\n]|\Z)")
_PREFIX: Final = re.compile(r"(?>(?:[ \t]*+(?:#[^\r\n]*+)?|%[^\r\n]*+)(?:\r\n?|\n))*+(?:[ \t]*+(?:#[^\r\n]*+)?)?")
_BEFORE: Final = re.compile(r"[ \t\r\n]++|#[^\r\n]*+|%[^\r\n]*+|---(?=[ \t\r\n])")
_INDENT: Final = re.compile(r"(?m)^[ \t?:\-]{30,}")

_HINTS: Final = (
    ("cannot start any token", "Indent with spaces, not tabs; quote text that begins with '@', '%' or a back-quote"),
    ("mapping values are not allowed", "Indent the line below its parent, or quote the text that contains ': '"),
    ("found unexpected end of stream", "Close the quote, or finish writing the file"),
    ("could not find expected ':'", "Write the key as 'name: value', or quote the text"),
    ("did not find expected <document start>", "Indent the line as its neighbours, or put '---' on a line before it"),
    ("expected ',' or", "Close the bracket that is open here, or put a comma between the values"),
    ("undefined alias", "Write the anchor (&name) before the alias (*name), in the same document"),
)


class Chunk(msgspec.Struct, frozen=True):
    """One document's text, and the line of the file (from 1) at which it begins."""

    text: str
    first_line: int


class Marks(msgspec.Struct, frozen=True):
    """Where each key and each value of a document stands: line and column in its text, both from 1."""

    keys: dict[Path, tuple[int, int]]
    values: dict[Path, tuple[int, int]]

    def value(self, path: Path) -> tuple[int, int] | None:
        """The place of a value: of its key when the value spans lines. A path that does not exist has its parent's."""
        while path not in self.values:
            if not path:
                return None
            path = path[:-1]
        return self.values[path]

    def key(self, path: Path) -> tuple[int, int] | None:
        """The place of a key; of the value where there is no key."""
        return self.keys.get(path) or self.value(path)


def split(text: str) -> Iterator[Chunk]:
    """The documents of a file, each with its own markers. Costs one pass; parses nothing."""
    start, line, opened = 0, 1, False
    for marker in _MARKER.finditer(text):
        at = marker.start()
        if at and text[at - 1] not in "\r\n":
            continue
        if marker.group() == "---":
            if not opened and _PREFIX.fullmatch(text, start, at):
                opened = True
                continue
            end, opened = at, True
        else:
            end, opened = _line_end(text, at), False
        yield Chunk(text[start:end], line)
        line += _count_lines(text[start:end])
        start = end
    yield Chunk(text[start:], line)


def skip(text: str) -> int:
    """Where a document's first word stands in its text: after directives, blank lines, comments and its marker."""
    at = 0
    while (match := _BEFORE.match(text, at)) and match.end() > at:
        at = match.end()
    return at if at < len(text) else 0


def position(text: str, at: int) -> tuple[int, int]:
    """Line and column, both from 1, of a character."""
    before = text[:at]
    return 1 + _count_lines(before), len(before) - max(before.rfind("\n"), before.rfind("\r"))


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _count_lines(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def parse(text: str) -> tuple[object, tuple[Fault, ...]]:
    """One document's value and faults. With a fault the value is not to be used. An empty document is None."""
    if text.lstrip()[:1] in ("{", "["):
        found, value = _json(text)
        if found:
            return value, ()
    if faults := _unreadable(text) or _too_deep(text):
        return None, faults
    node, faults = _compose(text)
    if faults or node is None:
        return None, faults
    build = Build(aliases="*" in text)
    value = build(node, 1)
    return value, tuple(build.faults)


def marks(text: str) -> Marks:
    """Where everything stands in a text that ``parse`` accepted; empty for JSON that is not YAML."""
    found = Marks({}, {})
    if _unreadable(text) or _too_deep(text):
        return found
    node, _ = _compose(text)
    if node is not None:
        _mark(node, (), found, 1)
    return found


def _json(text: str) -> tuple[bool, object]:
    """(True, value) for JSON without fault. Anything else is left to the YAML reader, which can say what is wrong."""
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates, parse_int=integer, parse_constant=_refuse)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False, None
    shallow = text.count("[") + text.count("{") <= MAX_DEPTH or _depth(value) <= MAX_DEPTH
    return shallow, value if shallow else None


def _depth(value: object) -> int:
    """Levels of mappings and lists inside each other, counted up to one more than allowed."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        level = [part for item in level if isinstance(item, (dict, list)) for part in _parts(item)]
        depth += 1
    return depth


def _parts(item: dict[str, object] | list[object]) -> list[object]:
    return list(item.values()) if isinstance(item, dict) else item


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("duplicate key")
    return mapping


def _refuse(word: str) -> object:
    raise ValueError(word)


def _unreadable(text: str) -> tuple[Fault, ...]:
    match = _UNPRINTABLE.search(text)
    if match is None:
        return ()
    line, column = position(text, match.start())
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:
        what, remedy = f"byte 0x{code - 0xDC00:02x} is not UTF-8", "Save the file as UTF-8"
    elif code in (0x85, 0x2028, 0x2029):
        what, remedy = f"character U+{code:04X} breaks lines in some YAML readers", f'Write it as "\\u{code:04x}"'
    else:
        what, remedy = f"character U+{code:04X} is not allowed in YAML", "Remove it; a text file does not hold it"
    return (Fault("WFT-1006", what, remedy, line, column),)


def _too_deep(text: str) -> tuple[Fault, ...]:
    """Bounds nesting and nodes from the text alone; only what may exceed a limit is counted event by event."""
    brackets = text.count("[") + text.count("{")
    indent = max(map(len, _INDENT.findall(text)), default=30)
    separators = text.count("\n") + text.count("\r") + text.count(",") + 2 * text.count(":") + text.count("- ")
    if brackets + 2 * (indent + 2) <= _CHEAP_DEPTH and separators + brackets <= MAX_NODES:
        return ()
    depth = nodes = 0
    parser = _events(text)
    try:
        while parser.check_event():
            event = parser.get_event()
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            nodes += isinstance(event, yaml.NodeEvent)
            if depth > MAX_DEPTH:
                return (too_deep(event.start_mark),)
            if nodes > MAX_NODES:
                return (_many(event.start_mark),)
    except yaml.YAMLError:
        return ()  # composing stops at the same place and says why
    return ()


def _many(mark: Mark) -> Fault:
    message = f"the document has more than {MAX_NODES:,} keys and values"
    return fault_at("WFT-1001", message, "Split it into several documents", mark)


class _Untyped:
    """Resolver of a composer: says only whether a scalar was unquoted; values come later, from our own schema."""

    def descend_resolver(self, current_node: object, current_index: object) -> None:
        pass

    def ascend_resolver(self) -> None:
        pass

    def resolve(self, kind: type[yaml.Node], value: object, implicit: tuple[bool, bool]) -> str:  # noqa: ARG002 - PyYAML's signature
        if kind is yaml.ScalarNode:
            return "plain" if implicit[0] else "text"
        return CORE_SEQ if kind is yaml.SequenceNode else CORE_MAP


class PythonComposer(Reader, Scanner, Parser, yaml.composer.Composer, _Untyped):
    """The slow composer, for a PyYAML without libyaml."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        yaml.composer.Composer.__init__(self)


def _fast_composer() -> Callable[[str], Any]:
    if CParser is None:  # pragma: no cover - see above
        return PythonComposer

    class LibyamlComposer(_Untyped, CParser):
        pass

    return LibyamlComposer


COMPOSER: Final = _fast_composer()
_events: Final = COMPOSER


def _compose(text: str, composer: Callable[[str], Any] = COMPOSER) -> tuple[yaml.Node | None, tuple[Fault, ...]]:
    try:
        return composer(text).get_single_node(), ()
    except yaml.MarkedYAMLError as error:
        return None, (_syntax(error),)
    except yaml.YAMLError as error:  # pragma: no cover - only of a reader, and what it refuses was refused before
        return None, (Fault("WFT-1004", str(error), "Correct the text here", 1, 1),)


def _syntax(error: yaml.MarkedYAMLError) -> Fault:
    what = str(error.problem or "the text is not YAML")
    context = str(error.context or "")
    if what == "but found another document":
        what = "did not find expected <document start>"
    remedy = next((hint for words, hint in _HINTS if words in what), "Correct the text here")
    message = f"{what}, {context}" if context and "expected a single document" not in context else what
    mark = error.problem_mark or error.context_mark
    return Fault("WFT-1004", message, remedy, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1)


def _mark(node: yaml.Node, path: Path, found: Marks, depth: int) -> None:
    """Walks what ``parse`` accepted, so depth and aliases are within their limits; the first place of a path stays."""
    if depth > MAX_DEPTH + 1 or len(found.values) > MAX_NODES:
        return
    found.values.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _mark(item, (*path, index), found, depth + 1)
    elif isinstance(node, yaml.MappingNode):
        merges = [value for key, value in node.value if is_merge(key)]
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and not is_merge(key):
                _mark_entry(key, value, (*path, key.value), found, depth)
        for merge in merges:
            for source in merge.value if isinstance(merge, yaml.SequenceNode) else [merge]:
                _mark(source, path, found, depth)


def _mark_entry(key: yaml.Node, value: yaml.Node, path: Path, found: Marks, depth: int) -> None:
    place = (key.start_mark.line + 1, key.start_mark.column + 1)
    found.keys.setdefault(path, place)
    if value.start_mark.line != key.start_mark.line:
        found.values.setdefault(path, place)
    _mark(value, path, found, depth + 1)
