"""The agent's processes, as ``ps``, ``up``, ``run`` and ``stop`` read them."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from weft.cli.client import Absent, Client, Failed, Json, Refused
from weft.errors import Problem, nearest
from weft.names import workload_of
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

POLL_SECONDS: Final = 0.05


def items(agent: Client, kinds: tuple[str, ...] = ("app", "gateway")) -> list[dict[str, Any]]:
    """Workloads of this host, then gateways: the agent's rows, that of the proxy beside a workload in ``proxy``."""
    rows: list[dict[str, Any]] = agent.get("/v1/processes")["processes"]
    proxies = {(row["namespace"], row["name"]): row for row in rows if row["kind"] == "proxy"}
    found = [{**row, "proxy": proxies.get((row["namespace"], row["name"]))} for row in rows if row["kind"] in kinds]
    return sorted(found, key=lambda item: (item["kind"] != "app", item["namespace"], item["name"]))


def matching(found: Iterable[dict[str, Any]], name: str, namespace: str) -> list[dict[str, Any]]:
    """The processes that a name means: one instance (``reviews-v1-0``), a version (``reviews-v1``) or a service.

    Raises ``Failed`` with the nearest names when there is none.
    """
    inside = [item for item in found if item["namespace"] == namespace]
    for test in (
        lambda item: item["name"] == name,
        lambda item: bool(item.get("version")) and f"{item['service']}-{item['version']}" == name,
        lambda item: item.get("service") == name,
    ):
        if chosen := [item for item in inside if test(item)]:
            return chosen
    known = sorted({str(item[key]) for item in inside for key in ("name", "service") if item.get(key)})
    near = nearest(name, known)
    remedy = f"Did you mean {' or '.join(near)}?" if near else "List what runs: weft ps -A"
    message = f"nothing called {name!r} runs in namespace {namespace}"
    raise Failed(Problem(code="WFT-1705", message=message, remedy=remedy, origin=Origin("weft ps")))


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition came true in time. An absent server is not there yet; it is no failure here."""
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return True
        except (Absent, Refused):
            pass
        if time.monotonic() >= end:
            return False
        time.sleep(POLL_SECONDS)


def host() -> str:
    """The name of this host, as its agent has it: on a joined one the name that it joined by."""
    from weft.cli import options  # noqa: PLC0415 - it knows where the state is, and few ask

    try:
        return str(json.loads(options.paths().joined.read_bytes())["host"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return os.environ.get("WEFT_HOST") or socket.gethostname()


def unsettled(agent: Client, control: Client) -> list[str]:
    """Names of what shall run and is not yet serving, failing or stopped."""
    known = {(item["namespace"], item["name"]): item["state"] for item in items(agent)}
    wanted: Json = control.get("/weft/v1/placements", {"host": host()})
    names = [(each["namespace"], each["name"]) for each in (*wanted["processes"], *wanted["gateways"])]
    # One that will replace another is on its way, too; one that fails to is not waited for.
    names += [key for key in known if key[1] != workload_of(key[1])]
    return [name for namespace, name in names if known.get((namespace, name), "starting") == "starting"]


def addresses(item: Mapping[str, Any]) -> list[str]:
    """Where a gateway listens on this machine."""
    if item["kind"] != "gateway":
        return []
    return list(item["urls"])
