"""``weft get``: objects as they stand."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from weft.cli import kinds, objects, options, output, say

if TYPE_CHECKING:
    from weft.api.kinds import Kind
    from weft.cli.client import Client


@click.command("get")
@click.argument("what", nargs=-1, metavar="TYPE[/NAME] [NAME]...")
@options.namespace_option
@options.all_namespaces_option
@click.option("-l", "--selector", "label", default="", metavar="KEY=VALUE,...", help="Only objects with these labels.")
@options.output_option()
@options.watch_option
def command(what: tuple[str, ...], namespace: str, all_namespaces: bool, label: str, form: str, watch: bool) -> None:
    """Show objects: one, all of a type, or 'all'.

    Types have short names and plurals: httproute, httproutes, hr; service, svc; gateway, gw.
    """
    wanted = kinds.split(what)
    inside = "" if all_namespaces else namespace
    if all_namespaces and any(name for _, name in wanted):
        raise click.UsageError("A name stands in one namespace: use -n, or leave the name out.")
    client = options.control()
    if watch:
        follow(client, wanted, inside, label, form)
        return
    show(
        objects.fetch(client, wanted, inside, label),
        form,
        single=len(wanted) == 1 and bool(wanted[0][1]),
        where=inside,
        of=wanted[0][0].kind,
    )


def show(items: list[dict[str, Any]], form: str, *, single: bool, where: str, of: str = "") -> None:
    """One table for each kind; one document, or a List, for the other formats."""
    if not items:
        say.note(f"Nothing found in namespace {where}. Everywhere: -A" if where else "Nothing found.")
        if of == "Service":
            say.note("The services that a Mesh declares stand in it: weft get mesh -o yaml")
        if form in ("table", "wide", "name"):
            return
    if form in ("table", "wide"):
        for number, (kind, group) in enumerate(groupby(items, key=lambda item: str(item["kind"]))):
            if number:
                say.data("\n")
            rows = list(group)
            if len({item["kind"] for item in items}) > 1:
                rows = [{**row, "metadata": {**row["metadata"], "name": objects.name_of(row)}} for row in rows]
            say.data(output.table(rows, objects.columns(kind, everywhere=not where), wide=form == "wide"))
        return
    whole = items[0] if single else {"apiVersion": "v1", "kind": "List", "items": items}
    output.show(form, whole, items, (), objects.name_of)


def follow(client: Client, wanted: list[tuple[Kind, str]], namespace: str, label: str, form: str) -> None:
    """One line (or document) per change, until Ctrl-C. A watch is of one type."""
    if len({kind for kind, _ in wanted}) != 1:
        raise click.UsageError("-w follows one type at a time.")
    kind = wanted[0][0]
    names = {name for _, name in wanted if name}
    columns = objects.columns(kind.kind, everywhere=not namespace)
    if form in ("table", "wide"):
        columns = (output.Column("EVENT", lambda row: row["event"]), *columns)
    for number, line in enumerate(client.lines(kinds.path(kind, namespace), {"watch": "true", "labelSelector": label})):
        event = json.loads(line)
        item = {"kind": kind.kind, **event["object"]}
        if item["kind"] != kind.kind or (names and item["metadata"]["name"] not in names):
            continue
        row = {**item, "event": event["type"].lower()}
        if form in ("table", "wide"):
            text = output.table([row], columns, wide=form == "wide")
            say.data(text if number == 0 else text.splitlines()[1])
        else:
            output.show(form, item, [item], (), objects.name_of)
