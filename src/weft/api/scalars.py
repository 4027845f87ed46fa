"""What an unquoted word means: the core schema of YAML 1.2, with one deviation that keeps what was typed.

``null``, ``true``, ``12``, ``0x1f``, ``0o17``, ``1.5e3``, ``.inf`` and ``.nan`` are what they look like. ``no``,
``on`` and ``22:22`` are text, as the core schema says. A number with a leading zero (``012``) is text too: the schema
would read twelve, Kubernetes ten, and the writer of a version or of a file mode meant neither.

Source: YAML 1.2.2, section 10.3.
"""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_STARTS: Final = frozenset("+-.0123456789~nNtTfF")
_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*+)")
_BASED: Final = re.compile(r"0o[0-7]++|0x[0-9a-fA-F]++")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]++|(?:0|[1-9][0-9]*+)(?:\.[0-9]*+)?)(?:[eE][-+]?[0-9]++)?")
_LONGEST: Final = 300
"""Characters of a number; what is longer is text. Any number that a program can use is shorter."""

_LARGEST: Final = 2**63 - 1
_DIGITS: Final = 20

_TAG: Final = "tag:yaml.org,2002:"

PlainValue = str | int | float | bool | None


def plain(text: str) -> PlainValue:
    """The value of an unquoted scalar."""
    if not text:
        return None
    if text[0] not in _STARTS:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST:
        return text
    if _INT.fullmatch(text):
        return integer(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _BASED.fullmatch(text):
        value = int(text[2:], 8 if text[1] == "o" else 16)
        return value if value <= _LARGEST else text
    return text


def integer(text: str) -> int | float:
    """A decimal number, as a float where 64 bits do not hold it: JSON that we write must be readable everywhere."""
    if len(text) > _DIGITS:
        return float(text)
    value = int(text)
    return value if -_LARGEST - 1 <= value <= _LARGEST else float(text)


def tagged(tag: str, text: str) -> PlainValue:
    """The value of a scalar with an explicit core tag such as ``!!str``.

    Raises ValueError when tag and text disagree.
    """
    kind = tag.removeprefix(_TAG)
    if kind == "str":
        return text
    value = plain(text)
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind not in _MATCHES or type(value) is not _MATCHES[kind]:
        raise ValueError(kind)
    return value


_MATCHES: Final[dict[str, type]] = {"null": type(None), "bool": bool, "int": int, "float": float}
CORE_SCALARS: Final = frozenset(_TAG + kind for kind in ("str", *_MATCHES))
CORE_MAP: Final = _TAG + "map"
CORE_SEQ: Final = _TAG + "seq"
