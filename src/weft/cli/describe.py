"""``weft describe``: one object, what became of it, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import click

from weft.cli import kinds, objects, options, output, say, services
from weft.cli.client import Client, problems_of

HIDDEN = ("managedFields", "uid", "resourceVersion", "generation", "creationTimestamp", "name", "namespace")


@click.command("describe")
@click.argument("what", nargs=-1, metavar="TYPE[/NAME] [NAME]...")
@options.namespace_option
def command(what: tuple[str, ...], namespace: str) -> None:
    """Show an object, its conditions, problems and changes."""
    client = options.control()
    items = []
    for kind, name in kinds.split(what):
        if kind.kind == services.KIND and name and objects.exists(client, kind, namespace, name) is None:
            # Nobody wrote a Service: a Mesh declares it, or it is nowhere.
            (service,) = services.fetch(client, namespace, [name])
            say.data(output.as_yaml(service).rstrip())
            continue
        items += objects.fetch(client, [(kind, name)], namespace)
    problems = problems_of(client.get("/weft/v1/problems"))
    for number, item in enumerate(items):
        meta = item["metadata"]
        group = item["apiVersion"].rpartition("/")[0]
        ref = (group, item["kind"], meta.get("namespace", ""), meta["name"])
        path = "/".join(part for part in ref[1:] if part)
        history = client.get("/weft/v1/history", {"ref": path}).get("items", [])
        say.data(("\n" if number else "") + text(item, history))
        if kind_of(item) == ("", services.KIND):
            _shapes(client, item)
        for problem in problems:
            if problem.ref and (problem.ref.group, problem.ref.kind, problem.ref.namespace, problem.ref.name) == ref:
                say.data("\n" + str(problem))


def kind_of(item: dict[str, Any]) -> tuple[str, str]:
    group, _, version = item["apiVersion"].rpartition("/")
    return group if version else "", item["kind"]


def _shapes(client: Client, item: dict[str, Any]) -> None:
    """How callers' proxies reach each port of a Service, and why so."""
    meta = item["metadata"]
    found = client.get("/weft/v1/services", {"namespace": meta.get("namespace", "")})["items"]
    ports = [port for each in found if each["name"] == meta["name"] for port in each["ports"] if port.get("shape")]
    if ports:
        say.data("\n" + output.table(ports, SHAPES))


def text(item: dict[str, Any], history: list[dict[str, Any]]) -> str:
    """The object for people: its names first, then what it says, then what became of it."""
    meta = item["metadata"]
    head = [
        ("Name", meta["name"]),
        ("Namespace", meta.get("namespace")),
        ("Kind", f"{item['kind']} ({item['apiVersion']})"),
    ]
    head += [("Address", ", ".join(objects.urls(item)) if item["kind"] == "Gateway" else "")]
    head += [("Age", objects.since(item)), ("Generation", meta.get("generation"))]
    lines = [f"{title + ':':<12}{value}" for title, value in head if value]
    rest = {key: value for key, value in meta.items() if key not in HIDDEN and value}
    rest |= {key: value for key, value in item.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    lines.append(output.as_yaml(rest).rstrip() if rest else "")
    if conditions := _conditions(item):
        lines += ["", output.table(conditions, CONDITIONS)]
    if history:
        lines += ["", output.table(history[-5:], CHANGES)]
    return "\n".join(lines)


def _conditions(item: dict[str, Any]) -> list[dict[str, Any]]:
    status = item.get("status") or {}
    own = [{"of": "", **each} for each in status.get("conditions") or []]
    for parent in (*(status.get("parents") or []), *(status.get("listeners") or [])):
        of = parent.get("name") or (parent.get("parentRef") or {}).get("name", "")
        own += [{"of": of, **each} for each in parent.get("conditions") or []]
    return own


SHAPES = (
    output.Column("PORT", lambda row: row["number"]),
    output.Column("SHAPE", lambda row: row["shape"]),
    output.Column("IS", services.shape),
    output.Column("BECAUSE", lambda row: row.get("why")),
)
CONDITIONS = (
    output.Column("CONDITION", lambda row: row["type"]),
    output.Column("OF", lambda row: row["of"]),
    output.Column("STATUS", lambda row: row["status"]),
    output.Column("REASON", lambda row: row.get("reason")),
    output.Column("MESSAGE", lambda row: row.get("message")),
)
CHANGES = (
    output.Column("REVISION", lambda row: row["revision"]),
    output.Column("CHANGED", lambda row: f"{objects.elapsed(row['time'])} ago"),
    output.Column("BY", lambda row: row["owner"]),
    output.Column("WHAT", lambda row: row["verb"]),
)
