"""What can be chosen about an agent. Every field mirrors a ``WEFT_*`` variable of the same name."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from typing import TYPE_CHECKING

import msgspec

from weft.model.service import Address, Capture
from weft.names import DOOR_PORT
from weft.paths import Paths, locate

if TYPE_CHECKING:
    from collections.abc import Mapping


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """``control`` False: control runs elsewhere, ``control_address`` (``IP:PORT`` of its door) when it is another host's.
    ``address`` is the IP address of this host that other hosts reach; empty: it is alone. ``gateway_address`` is what
    gateways bind; a server wants 0.0.0.0.

    ``drain_seconds`` is how long a workload that stops may finish its requests, ``grace_seconds`` how long a process
    may take to end after SIGTERM. ``keep`` leaves everything running when the agent ends. Of each log the last ``log_bytes``
    are kept twice: in the file, and in the one before it.
    """

    paths: Paths
    host: str
    capture: Capture | None = None
    control: bool = True
    control_command: tuple[str, ...] = (sys.executable, "-m", "weft.control")
    control_address: str = ""
    address: str = ""
    gateway_address: str = "127.0.0.1"
    drain_seconds: float = 5.0
    grace_seconds: float = 10.0
    concurrency: int = 1
    keep: bool = False
    log_bytes: int = 8 * 1024 * 1024
    environment: tuple[tuple[str, str], ...] = ()
    """What applications inherit."""


class SettingsError(Exception):
    """A variable has a value that is not one of its values; the text says which are."""


def from_environ(environ: Mapping[str, str]) -> Settings:
    """Raises ``SettingsError``."""
    capture: Capture | None = None
    if (chosen := environ.get("WEFT_CAPTURE", "auto")) != "auto":
        try:
            capture = Capture(chosen)
        except ValueError:
            known = ", ".join(["auto", *(mode.value for mode in Capture)])
            raise SettingsError(f"WEFT_CAPTURE is {chosen!r}; it can be {known}") from None
    return Settings(
        paths=locate(environ, os.geteuid()),
        host=environ.get("WEFT_HOST") or socket.gethostname(),
        capture=capture,
        control=_flag(environ, "WEFT_CONTROL", default=True) and not environ.get("WEFT_CONTROL_ADDRESS"),
        control_address=_door(environ),
        address=_address(environ),
        gateway_address=environ.get("WEFT_GATEWAY_ADDRESS", "127.0.0.1"),
        drain_seconds=_number(environ, "WEFT_DRAIN_SECONDS", 5.0),
        grace_seconds=_number(environ, "WEFT_GRACE_SECONDS", 10.0),
        keep=_flag(environ, "WEFT_KEEP", default=False),
        log_bytes=_bytes(environ, "WEFT_LOG_BYTES", 8 * 1024 * 1024),
        environment=tuple(sorted(environ.items())),
    )


def _address(environ: Mapping[str, str]) -> str:
    text = environ.get("WEFT_ADDRESS", "")
    if not text:
        return ""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        found = None
    if found is None or found.is_unspecified or found.is_multicast:
        raise SettingsError(f"WEFT_ADDRESS is {text!r}; it is one IP address of this host that other hosts reach")
    return str(found)


def _door(environ: Mapping[str, str]) -> str:
    text = environ.get("WEFT_CONTROL_ADDRESS", "")
    if text and door(text) is None:
        raise SettingsError(f"WEFT_CONTROL_ADDRESS is {text!r}; it is IP:PORT of the host that runs control")
    return text


def door(text: str) -> Address | None:
    """The address of a door, ``10.0.0.1:15012`` or ``[fd00::1]:15012``, the port optional; None when it is none."""
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port or (":" in host and not host.startswith("[")):
        host, port = text, str(DOOR_PORT)
    try:
        ip = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        return None
    return Address(ip=str(ip), port=int(port))


def _flag(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = environ.get(name, "")
    known = {"": default, "1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if value.lower() not in known:
        raise SettingsError(f"{name} is {value!r}; it can be true or false")
    return known[value.lower()]


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(environ.get(name) or default)
    except ValueError:
        value = -1.0
    if not 0 <= value < 86400:
        raise SettingsError(f"{name} is {environ.get(name)!r}; it is a number of seconds below a day")
    return value


def _bytes(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text[:18]) >= 4096):
        raise SettingsError(f"{name} is {text!r}; it is a number of bytes, at least 4096")
    return int(text)
