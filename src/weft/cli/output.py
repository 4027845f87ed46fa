"""``-o table|wide|json|yaml|name|jsonpath=…``: data to text."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from weft.cli import jsonpath, say
from weft.errors import nearest

if TYPE_CHECKING:
    from weft.cli.client import Json

FORMATS: Final = ("table", "wide", "json", "yaml", "name")
GAP: Final = 3
"""Spaces between columns, as kubectl has them."""

Row = Mapping[str, Any]


class Column(NamedTuple):
    """One column of a table; ``wide`` columns are shown by ``-o wide`` only."""

    title: str
    value: Callable[[Row], object]
    wide: bool = False


class Format(click.ParamType[str]):
    """The value of ``-o``."""

    name = "format"

    def __init__(self, extra: tuple[str, ...] = ()) -> None:
        self.known = (*FORMATS, *extra)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value.startswith("jsonpath="):
            try:
                jsonpath.parse(value.removeprefix("jsonpath="))
            except ValueError as error:
                self.fail(str(error), param, ctx)
            return value
        if value in self.known:
            return value
        near = nearest(value, self.known)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(self.known)}, jsonpath=…"
        return self.fail(f"no format {value!r}; {hint}", param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        return "|".join(self.known) + "|jsonpath=…"


def show(form: str, value: Json, rows: Sequence[Row], columns: Sequence[Column], name: Callable[[Row], str]) -> None:
    """Write ``value`` as JSON, YAML or by a JSONPath, or ``rows`` as a table or as names."""
    if form in ("table", "wide"):
        say.data(table(rows, columns, wide=form == "wide"))
    elif form == "name":
        say.data("\n".join(name(row) for row in rows))
    else:
        say.data(structured(form, value))


def structured(form: str, value: Json) -> str:
    """``value`` as ``json``, ``yaml`` or ``jsonpath=…``."""
    if form == "json":
        return json.dumps(value, indent=2, ensure_ascii=False)
    if form == "yaml":
        return as_yaml(value)
    return jsonpath.evaluate(form.removeprefix("jsonpath="), value)


def as_yaml(value: Json) -> str:
    """Block YAML in the order given. Loads PyYAML, which only this format needs."""
    import yaml  # noqa: PLC0415 - start-up time: 20 ms

    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False, width=100)
    return str(text)


def table(rows: Sequence[Row], columns: Sequence[Column], *, wide: bool = False) -> str:
    """Aligned columns under a heading. On a terminal the widest column gives way, so that lines fit; not when ``wide``."""
    shown = [column for column in columns if wide or not column.wide]
    cells = [[column.title for column in shown]] + [[cell(column.value(row)) for column in shown] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(shown))]
    if sys.stdout.isatty() and not wide:
        _narrow(widths, shutil.get_terminal_size().columns)
    lines = [_line(line, widths) for line in cells]
    lines[0] = say.paint(lines[0], say.BOLD, sys.stdout)
    return "\n".join(lines)


def cell(value: object) -> str:
    """A value in a table: empty things are ``-``, lists have commas."""
    if value is None or value == "" or value == [] or value == ():
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ",".join(str(item) for item in value)
    return " ".join(str(value).split())


def _narrow(widths: list[int], available: int) -> None:
    while sum(widths) + GAP * (len(widths) - 1) > available and max(widths) > 12:
        widths[widths.index(max(widths))] -= 1


def _line(cells: list[str], widths: list[int]) -> str:
    cut = [shortened(text, width) for text, width in zip(cells, widths, strict=True)]
    return (" " * GAP).join(text.ljust(width) for text, width in zip(cut, widths, strict=True)).rstrip()


def shortened(text: str, width: int) -> str:
    """At most ``width`` characters. Of a path or an object, ``created AuthorizationPol…efault/orders``, the end stays too."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2 if "/" in text else 0
    return text[: width - 1 - tail] + "…" + text[len(text) - tail :]


def count(number: int, thing: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def age(seconds: float) -> str:
    """A duration in its two greatest units at most: ``12s``, ``3m20s``, ``5h``, ``2d``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 600:
        return f"{whole // 60}m{whole % 60}s" if whole % 60 else f"{whole // 60}m"
    if whole < 3600 * 2:
        return f"{whole // 60}m"
    return f"{whole // 3600}h" if whole < 86400 * 2 else f"{whole // 86400}d"
