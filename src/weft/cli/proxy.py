"""``weft proxy``: what the proxies run, and whether it is what they should."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from weft.cli.client import Failed
from weft.errors import Problem, nearest
from weft.names import workload_of
from weft.values import Origin

if TYPE_CHECKING:
    from weft.cli.client import Client

VERBS: Final = ("status", "config", "diff", "log", "confirm")


class ProxyVerbs(click.Group):
    """The verbs below ``proxy``; ``proxy status`` stands in the module ``proxy_status``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in VERBS:
            return None
        found: click.Command = import_module(f"weft.cli.proxy_{cmd_name}").command
        return found


@click.group("proxy", cls=ProxyVerbs)
def command() -> None:
    """Look into the proxies: status, config, diff, log, confirm."""


def node_of(control: Client, workload: str, namespace: str) -> str:
    """The node id of the proxy beside a workload. Raises ``Failed`` with the nearest names."""
    known: list[dict[str, Any]] = control.get("/weft/v1/proxies")["items"]
    names: dict[str, str] = {}
    for item in known:
        _, inside, name = item["node"].split("/", 2)
        if item["node"] == workload:
            return workload
        if inside == namespace:
            names[name] = item["node"]
            names.setdefault(workload_of(name), item["node"])
    if workload in names:
        return names[workload]
    starting = [name for name in names if name.startswith(f"{workload}-")]
    near = starting[:3] or nearest(workload, list(names))
    remedy = f"Did you mean {' or '.join(near)}?" if near else "List them: weft proxy status"
    message = f"no proxy is called {workload!r} in namespace {namespace}"
    raise Failed(Problem(code="WFT-1705", message=message, remedy=remedy, origin=Origin("weft proxy status")))
