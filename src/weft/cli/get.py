"""``weft get``: objects as they stand."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import click

from weft.cli import kinds, objects, options, output, say, services

if TYPE_CHECKING:
    from weft.api.kinds import Kind
    from weft.cli.client import Client

TABLES: Final = ("table", "wide")
LISTS: Final = (*TABLES, "name")


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
    Services are all that can be called, those of a Mesh too; -l and -w, and -o yaml of one that
    somebody wrote, show the Service objects.
    """
    wanted = kinds.split(what)
    inside = "" if all_namespaces else namespace
    if all_namespaces and any(name for _, name in wanted):
        raise click.UsageError("A name stands in one namespace: use -n, or leave the name out.")
    client = options.control()
    if watch:
        follow(client, wanted, inside, label, form)
        return
    found = 0
    if not label:
        wanted, found = show_services(client, wanted, inside, form)
    if not wanted:
        return
    items = objects.fetch(client, wanted, inside, label)
    if items and found and form in TABLES:
        say.data("\n")
    if items or not found:
        show(items, form, single=len(wanted) == 1 and bool(wanted[0][1]), where=inside)


def show_services(
    client: Client, wanted: list[tuple[Kind, str]], namespace: str, form: str
) -> tuple[list[tuple[Kind, str]], int]:
    """Show the services among what is wanted: what is left to be read as objects, and how many were shown."""
    mine = [(kind, name) for kind, name in wanted if kind.kind == services.KIND]
    others = [each for each in wanted if each not in mine]
    names = [name for _, name in mine if name]
    if not mine or (form not in LISTS and (others or _written(client, mine, namespace))):
        return wanted, 0
    items = services.fetch(client, namespace, names)
    if items:
        columns = services.columns(everywhere=not namespace, kinds=bool(others))
        whole = items[0] if len(names) == len(mine) == 1 else {"items": items}
        output.show(form, whole, items, columns, services.name_of)
    elif not others:
        nothing(namespace)
    return others, len(items)


def _written(client: Client, mine: list[tuple[Kind, str]], namespace: str) -> bool:
    """Whether each is named and an object that somebody wrote, and so is shown as it was written."""
    return all(name and objects.exists(client, kind, namespace, name) is not None for kind, name in mine)


def nothing(namespace: str) -> None:
    say.note(f"Nothing found in namespace {namespace}. Everywhere: -A" if namespace else "Nothing found.")


def show(items: list[dict[str, Any]], form: str, *, single: bool, where: str) -> None:
    """One table for each kind; one document, or a List, for the other formats."""
    if not items:
        nothing(where)
        if form in LISTS:
            return
    if form in TABLES:
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
    if form in TABLES:
        columns = (output.Column("EVENT", lambda row: row["event"]), *columns)
    for number, line in enumerate(client.lines(kinds.path(kind, namespace), {"watch": "true", "labelSelector": label})):
        event = json.loads(line)
        item = {"kind": kind.kind, **event["object"]}
        if item["kind"] != kind.kind or (names and item["metadata"]["name"] not in names):
            continue
        row = {**item, "event": event["type"].lower()}
        if form in TABLES:
            text = output.table([row], columns, wide=form == "wide")
            say.data(text if number == 0 else text.splitlines()[1])
        else:
            output.show(form, item, [item], (), objects.name_of)
