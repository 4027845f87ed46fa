"""Options that several verbs share, spelled once, and where the servers' sockets are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TypeVar

import click

from weft.cli.client import Client, Failed
from weft.cli.output import Format
from weft.errors import Problem
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from weft.paths import Paths

F = TypeVar("F", bound="Callable[..., object]")

DEFAULT_NAMESPACE: Final = "default"


def paths() -> Paths:
    """Where weft keeps its files and sockets here: the options and ``WEFT_*`` before the XDG rules."""
    from weft.paths import locate  # noqa: PLC0415 - only verbs that talk to a server need it

    return locate(os.environ, os.geteuid())


def control() -> Client:
    """The control plane's API."""
    if url := remote():
        remedy = "See that it runs there with WEFT_LISTEN, and that the port leads to it"
        return Client(url, remedy=remedy, token=os.environ.get("WEFT_TOKEN", ""))
    here = paths()
    if here.joined.exists():
        from weft.cli.door import client  # noqa: PLC0415 - only a joined host needs TLS

        return client(here, os.environ.get("WEFT_TOKEN", ""))
    return Client(str(here.control_socket))


def remote() -> str:
    """The URL of ``--context``; empty when it is a weft of this machine, by its sockets."""
    context = os.environ.get("WEFT_CONTEXT", "")
    return context if "://" in context else ""


def agent() -> Client:
    """The agent beside the proxies of this host. Raises ``Failed`` when the context is a URL."""
    if url := remote():
        message = "processes are the business of the agent of their own machine, which has no address"
        remedy = "Run this on that machine, without --context"
        raise Failed(Problem(code="WFT-1711", message=message, remedy=remedy, origin=Origin(url)))
    return Client(str(paths().agent_socket), "weft")


def namespace_option(function: F) -> F:
    return click.option(
        "-n",
        "--namespace",
        envvar="WEFT_NAMESPACE",
        default=DEFAULT_NAMESPACE,
        show_default=True,
        metavar="NAME",
        help="The namespace of the names that are given.",
    )(function)


def all_namespaces_option(function: F) -> F:
    return click.option("-A", "--all-namespaces", is_flag=True, help="Every namespace.")(function)


def output_option(*extra: str, default: str = "table") -> Callable[[F], F]:
    """``-o``. ``extra`` are formats that only this verb has."""

    def add(function: F) -> F:
        return click.option(
            "-o",
            "--output",
            "form",
            envvar="WEFT_OUTPUT",
            type=Format(extra),
            default=default,
            show_default=True,
            help="How to show it.",
        )(function)

    return add


def files_option(*, required: bool = True) -> Callable[[F], F]:
    """``-f``, repeatable."""

    def add(function: F) -> F:
        return click.option(
            "-f",
            "--filename",
            "files",
            multiple=True,
            required=required,
            metavar="FILE|DIR|-",
            help="Manifests: a file, a folder (recursively), or - for stdin. Repeatable.",
        )(function)

    return add


def start_timeout_option(help_text: str) -> Callable[[F], F]:
    """``--timeout`` of verbs that start weft here."""
    return click.option(
        "--timeout",
        "seconds",
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        type=click.FloatRange(min=0, min_open=True),
        help=help_text,
    )


def dry_run_option(function: F) -> F:
    return click.option("--dry-run", is_flag=True, help="Check and show it, and change nothing.")(function)


def watch_option(function: F) -> F:
    return click.option("-w", "--watch", is_flag=True, help="Go on showing changes, until Ctrl-C.")(function)


def verbose_option(function: F) -> F:
    return click.option("-v", "--verbose", is_flag=True, help="Say more.")(function)
