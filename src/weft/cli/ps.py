"""``weft ps``: what runs on this host."""

from __future__ import annotations

import click

from weft.cli import objects, options, output, processes, say

COLUMNS: tuple[output.Column, ...] = (
    output.Column("NAME", lambda item: item["name"]),
    output.Column("STATE", lambda item: item["state"]),
    output.Column("PORTS", lambda item: processes.addresses(item) or item["ports"]),
    output.Column("RESTARTS", lambda item: item.get("restarts", 0)),
    output.Column("PROXY", lambda item: (item.get("proxy") or {}).get("state")),
    output.Column("AGE", lambda item: objects.elapsed(item["since"])),
    output.Column("REASON", lambda item: item.get("reason")),
    output.Column("CAPTURE", lambda item: item.get("capture"), wide=True),
    output.Column("PID", lambda item: item.get("pid"), wide=True),
    output.Column("PROXY PID", lambda item: (item.get("proxy") or {}).get("pid"), wide=True),
)
NAMESPACE = output.Column("NAMESPACE", lambda item: item["namespace"])


@click.command("ps")
@click.argument("name", required=False)
@options.namespace_option
@options.all_namespaces_option
@options.output_option()
def command(name: str | None, namespace: str, all_namespaces: bool, form: str) -> None:
    """Show the applications and gateways of this machine."""
    found = processes.items(options.agent())
    everywhere = all_namespaces or (not name and len({item["namespace"] for item in found}) > 1)
    if name:
        found = processes.matching(found, name, namespace)
    elif not everywhere and not all_namespaces and namespace != options.DEFAULT_NAMESPACE:
        found = [item for item in found if item["namespace"] == namespace]
    columns: tuple[output.Column, ...] = (NAMESPACE, *COLUMNS) if everywhere else COLUMNS
    if not any(item.get("reason") for item in found):
        columns = tuple(column for column in columns if column.title != "REASON")
    if not found:
        say.note("Nothing runs. Start something: weft run NAME -- CMD...")
        return
    output.show(form, {"items": found}, found, columns, lambda item: str(item["name"]))
