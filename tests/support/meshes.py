"""Texts of ``Mesh`` documents for tests that run one: services of the echo application, and what is said beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

ECHO: Final = Path(__file__).parent / "apps" / "echo.py"


def mesh(*services: str) -> str:
    """One Mesh of these services."""
    head = "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {name: test}\nspec:\n  services:\n"
    return head + "".join(services)


def service(name: str, *lines: str) -> str:
    """One service, with these lines of YAML in it."""
    return f"    {name}:\n" + "".join(f"      {line}\n" for line in lines)


def echo(name: str, *lines: str) -> str:
    """A service that answers with what it was asked, on port 80."""
    command = f"command: [{sys.executable}, {ECHO}]"
    return service(name, command, "ports: [{name: http, port: 80, targetPort: 8080}]", *lines)


def front(*lines: str) -> str:
    """The one that is called from outside, and calls another at ``/call/NAME/``."""
    return echo("front", "expose: {port: 8080}", *lines)
