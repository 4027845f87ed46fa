"""``weft ps``: what runs on this host, or on every host of the mesh."""

from __future__ import annotations

from typing import Any

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
HOSTS: tuple[output.Column, ...] = (
    output.Column("HOST", lambda item: item["host"]),
    output.Column("NAMESPACE", lambda item: item["namespace"]),
    output.Column("NAME", lambda item: item["name"]),
    output.Column("STATE", lambda item: item["state"]),
    output.Column("ADDRESS", lambda item: item["address"] or "-"),
    output.Column("HEARD", lambda item: f"{item['heardSecondsAgo']:.0f}s ago"),
    output.Column("CAPTURE", lambda item: item["capture"], wide=True),
)
NAMESPACE = output.Column("NAMESPACE", lambda item: item["namespace"])


@click.command("ps")
@click.argument("name", required=False)
@options.namespace_option
@options.all_namespaces_option
@click.option("--hosts", "all_hosts", is_flag=True, help="Every host of the mesh, as control last heard of it.")
@options.output_option()
def command(name: str | None, namespace: str, all_namespaces: bool, all_hosts: bool, form: str) -> None:
    """Show the applications and gateways of this machine."""
    if all_hosts:
        if name:
            raise click.UsageError("--hosts shows everything; leave the name out.")
        items = everywhere_in(options.control().get("/weft/v1/hosts")["items"])
        output.show(form, {"items": items}, items, HOSTS, lambda row: str(row["name"]))
        return
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


def everywhere_in(hosts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each workload and gateway of each host; a host that runs none has a row without a name."""
    rows = []
    for host in hosts:
        known = {"host": host["host"], "address": host["address"], "heardSecondsAgo": host["heardSecondsAgo"]}
        shown = [each for each in host["workloads"] if each["placement"] != "egress"]
        for each in shown or [{"namespace": "", "name": "", "capture": "", "ports": []}]:
            states = sorted({port["state"] for port in each["ports"]})
            state = "lost" if host["lost"] else ",".join(states) or "running"
            rows.append(
                {
                    **known,
                    "namespace": each["namespace"],
                    "name": each["name"],
                    "state": state,
                    "capture": each["capture"],
                }
            )
    return rows
