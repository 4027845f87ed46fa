"""Services as ``weft get`` shows them: everything that can be called, whatever declares it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from weft.cli.client import Client, Failed
from weft.cli.output import Column, Row
from weft.errors import Problem, nearest
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

KIND: Final = "Service"
SHAPES: Final = MappingProxyType(
    {
        "plain": "in the clear",
        "raw": "mutual TLS around the application's own bytes",
        "http": "mutual TLS and HTTP/2 between the proxies",
        "tunnel": "streams of a pooled mutual TLS connection",
    }
)


def fetch(client: Client, namespace: str, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Those of one namespace (empty: everywhere), or the named ones. Raises ``Failed`` for a name that nobody has."""
    items: list[dict[str, Any]] = client.get("/weft/v1/services", {"namespace": namespace})["items"]
    if not names:
        return items
    known = {item["name"]: item for item in items}
    if missing := [_missing(name, namespace, list(known)) for name in names if name not in known]:
        raise Failed(*missing)
    return [known[name] for name in names]


def _missing(name: str, namespace: str, known: list[str]) -> Problem:
    near = nearest(name, known)
    return Problem(
        code="WFT-1704",
        message=f"there is no service {name!r} in namespace {namespace}",
        remedy=f"Did you mean {' or '.join(near)}?" if near else "List them: weft get services -A",
        origin=Origin("weft get"),
    )


def name_of(row: Row) -> str:
    return f"service/{row['name']}"


def columns(*, everywhere: bool, kinds: bool = False) -> tuple[Column, ...]:
    """``kinds``: names have their kind before them, as in a list of several kinds."""
    return (
        *((Column("NAMESPACE", lambda row: row["namespace"]),) if everywhere else ()),
        Column("NAME", name_of if kinds else lambda row: row["name"]),
        Column("PORTS", lambda row: [f"{port['number']}/{port['protocol']}" for port in row["ports"]]),
        Column("READY", _ready),
        Column("FROM", lambda row: row["source"]),
        Column("SHAPES", _shapes, wide=True),
        Column("ADDRESS", lambda row: row["address"], wide=True),
        Column("HOSTS", lambda row: row["hosts"], wide=True),
        Column("EXTERNAL", lambda row: row["external"], wide=True),
    )


def shape(port: Row) -> str:
    """How callers' proxies reach a port: ``mutual TLS, HTTP/2 between the proxies``."""
    return SHAPES.get(port.get("shape", ""), "")


def _shapes(row: Row) -> list[str]:
    return [f"{port['number']}={port['shape']}" for port in row["ports"] if port.get("shape")]


def _ready(row: Row) -> str:
    """How many of its endpoints take new calls; those of a service outside the mesh are not ours to count."""
    if row["hosts"] or row["external"]:
        return "external"
    return f"{row['endpoints']['ready']}/{row['endpoints']['total']}"
