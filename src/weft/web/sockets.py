"""Where the API listens: a unix socket of mode 0600, and loopback TCP when asked."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from typing import TYPE_CHECKING, Final

from weft import private
from weft.errors import Problem
from weft.paths import SOCKET_LIMIT
from weft.sources.lock import UnusableError, unwritable
from weft.values import Origin

if TYPE_CHECKING:
    from pathlib import Path

MAX_TOKEN_BYTES: Final = 4096


def listen_unix(path: Path) -> socket.socket:
    """A listening socket that only its owner can reach, from its first moment on.

    A socket that a dead process left is replaced; one that somebody listens on raises ``UnusableError`` (WFT-1503).
    """
    if len(os.fsencode(path)) > SOCKET_LIMIT:
        message = f"the path has {len(os.fsencode(path))} bytes, and a unix socket takes {SOCKET_LIMIT}"
        raise UnusableError(_problem("WFT-1504", message, "Choose a shorter directory with WEFT_RUNTIME_DIR", path))
    if _answers(path):
        message = "another control plane listens on this socket"
        raise UnusableError(_problem("WFT-1503", message, "Use that one, or stop it first", path))
    try:
        made = private.listen(path)
    except OSError as error:
        raise UnusableError(unwritable(path, error)) from error
    made.setblocking(False)
    return made


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return path.is_socket()  # a full backlog is an answer too
        return True


def listen_tcp(address: str) -> socket.socket:
    """A listening socket at ``host:port``, loopback only; port 0 takes any. Raises ``UnusableError``."""
    host, _, port = address.rpartition(":")
    try:
        ip = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
        number = int(port)
    except ValueError as error:
        raise UnusableError(_not_loopback(address)) from error
    if not ip.is_loopback or not 0 <= number < 65536:
        raise UnusableError(_not_loopback(address))
    made = socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((str(ip), number))
        made.listen(private.BACKLOG)
    except OSError as error:
        made.close()
        problem = _problem("WFT-1504", f"cannot listen: {error}", "Choose another port, or 0 for any", address)
        raise UnusableError(problem) from error
    made.setblocking(False)
    return made


def token(path: Path) -> str:
    """The API's token, made when there is none; nobody else can read the file. Raises ``UnusableError``."""
    made = secrets.token_urlsafe(32)
    try:
        private.create(path, f"{made}\n".encode())
    except FileExistsError:
        return _read_token(path)
    except OSError as error:
        raise UnusableError(unwritable(path, error)) from error
    return made


def _read_token(path: Path) -> str:
    try:
        text = private.read(path, MAX_TOKEN_BYTES).decode(errors="replace").strip()
    except private.ExposedError as error:
        message, remedy = f"{error} does not keep the token private", f"Make another: rm {path.name}"
        raise UnusableError(_problem("WFT-1513", message, remedy, path)) from error
    except OSError as error:
        raise UnusableError(unwritable(path, error)) from error
    if not 32 <= len(text) <= MAX_TOKEN_BYTES or not text.isascii() or not text.isprintable():
        raise UnusableError(_problem("WFT-1513", "the file holds no token", f"Make another: rm {path.name}", path))
    return text


def _not_loopback(address: str) -> Problem:
    message = f"{address!r} is not a loopback address with a port"
    return _problem("WFT-1512", message, "Write 127.0.0.1:PORT or [::1]:PORT", address)


def _problem(code: str, message: str, remedy: str, place: Path | str) -> Problem:
    return Problem(code=code, message=message, remedy=remedy, origin=Origin(str(place)))
