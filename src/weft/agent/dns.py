"""What the resolver answers: DNS messages in, DNS messages out, no sockets. Standard library only (see ``resolver``).

Every answer is one question, at most one address. Unknown names are not refused: they lead to an address at which the
proxy explains what was asked for and which names are near (docs/decisions/0022-unknown-names-resolve.md).

Source: RFC 1035 section 4; RFC 2308 section 2 (no data is not no name).
"""

from __future__ import annotations

import socket
import struct
from typing import Final, NamedTuple

A: Final = 1
PTR: Final = 12
AAAA: Final = 28
INTERNET: Final = 1
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NO_NAME, NOT_IMPLEMENTED = 0, 1, 2, 3, 4
TTL_SECONDS: Final = 5
"""Short, because a name may get its virtual address a moment after it was first asked for."""

EXPLANATION: Final = "240.0.0.1"
"""The virtual address of names that nobody has; the outbound listener answers there with the names that are near."""

LOOPBACK: Final = "127.0.0.1"
MESSAGE_LIMIT: Final = 4096


class Question(NamedTuple):
    """The first question of a message: its name in lower case without the last dot, and its type and class."""

    name: str
    kind: int
    klass: int
    end: int
    """Where the question ends in the message, so that it can be repeated unchanged."""


class Names(NamedTuple):
    """What control knows: ``reviews.default`` to its address, other hosts to theirs, and what happens to the rest."""

    services: dict[str, str] = {}  # noqa: RUF012 - never changed: a new value replaces the whole
    hosts: dict[str, str] = {}  # noqa: RUF012 - as above
    allow_any: bool = False


class Machine(NamedTuple):
    """What the machine's own /etc/resolv.conf says, and its name."""

    search: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    hostname: str = ""


class Forward(NamedTuple):
    """Not ours to answer: pass the message on to the machine's own resolver."""


def question(message: bytes) -> Question | None:
    """The one question of a query; None for anything that is not a query with one well-formed question."""
    if len(message) < 12 or len(message) > MESSAGE_LIMIT:
        return None
    _, flags, questions = struct.unpack_from(">HHH", message)
    if flags & 0x8000 or questions != 1:
        return None
    labels, at = [], 12
    while True:
        if at >= len(message):
            return None
        length = message[at]
        # A question comes first: there is nothing a compressed name could point to.
        if length > 63 or at + 1 + length > len(message):
            return None
        at += 1
        if length == 0:
            break
        labels.append(message[at : at + length].decode("latin-1").lower())
        at += length
    if at - 12 > 255 or at + 4 > len(message):
        return None
    kind, klass = struct.unpack_from(">HH", message, at)
    return Question(name=".".join(labels), kind=kind, klass=klass, end=at + 4)


def reply(message: bytes, asked: Question | None, code: int, address: str | None = None) -> bytes:
    """The answer to ``message``: authoritative, recursion available, with at most one A record."""
    identity, flags = struct.unpack_from(">HH", message)
    if asked is None:
        return struct.pack(">HHHHHH", identity, 0x8080 | (flags & 0x7900) | code, 0, 0, 0, 0)
    header = struct.pack(">HHHHHH", identity, 0x8480 | (flags & 0x7900) | code, 1, 1 if address else 0, 0, 0)
    body = message[12 : asked.end]
    if address is None:
        return header + body
    record = struct.pack(">HHHIH", 0xC00C, A, INTERNET, TTL_SECONDS, 4)
    return header + body + record + socket.inet_aton(address)


def find(name: str, namespace: str, names: Names) -> str | None:
    """The address of a name as an application of ``namespace`` means it; None when nobody has it."""
    for suffix in (".svc.cluster.local", ".svc"):
        if name.endswith(suffix):
            return names.services.get(name[: -len(suffix)])
    if "." not in name and (address := names.services.get(f"{name}.{namespace}")):
        return address
    if address := names.services.get(name) or names.hosts.get(name):
        return address
    parent = name
    while "." in parent:
        parent = parent.partition(".")[2]
        if address := names.hosts.get(f"*.{parent}"):
            return address
    return None


def under(name: str, suffixes: tuple[str, ...]) -> bool:
    return any(name == suffix or name.endswith(f".{suffix}") for suffix in suffixes)


def answer(message: bytes, namespace: str, names: Names, machine: Machine) -> bytes | Forward | None:
    """What to answer. None for what is not even a message: nothing is sent back to it."""
    if len(message) < 12 or message[2] & 0x80:
        return None
    if message[2] & 0x78:
        return reply(message, None, NOT_IMPLEMENTED)
    asked = question(message)
    if asked is None:
        return reply(message, None, FORMAT_ERROR)
    if asked.klass != INTERNET:
        return reply(message, asked, NO_NAME)
    own = asked.name == machine.hostname or under(asked.name, ("localhost",))
    address = LOOPBACK if own else find(asked.name, namespace, names)
    if address is None:
        if asked.name.endswith((".svc", ".cluster.local")) and not names.allow_any:
            address = EXPLANATION
        elif under(asked.name, machine.search) or under(asked.name, ("in-addr.arpa", "ip6.arpa")):
            return reply(message, asked, NO_NAME)
        elif names.allow_any:
            return Forward()
        else:
            address = EXPLANATION
    return reply(message, asked, NO_ERROR, address if asked.kind == A else None)


def parse_resolv_conf(text: str, hostname: str) -> Machine:
    """The search list and the name servers. Of several ``search`` or ``domain`` lines the last one counts."""
    search: tuple[str, ...] = ()
    servers: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = tuple(word.rstrip(".").lower() for word in words[1:] if word.rstrip("."))
    return Machine(search=search, servers=tuple(servers), hostname=hostname.lower())


def name_servers(machine: Machine) -> tuple[tuple[int, tuple[str, int]], ...]:
    """Address family and address of each server that can be asked."""
    found = []
    for server in machine.servers:
        try:
            family, _, _, _, address = socket.getaddrinfo(
                server, 53, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
            )[0]
        except OSError:
            continue
        found.append((int(family), (str(address[0]), 53)))
    return tuple(found)
