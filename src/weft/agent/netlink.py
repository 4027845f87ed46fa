"""The few netlink messages that make a fresh network namespace capture what an application sends.

Written here, and not with a library, because it runs once per workload in a helper process of its own: importing
``pyroute2`` takes longer than the whole helper does (docs/decisions/0020-own-netlink.md has the figures). The messages
are fixed, so everything but ``send`` is a pure function to bytes, and the kernel checks them in the tests.

Source: Linux ``uapi/linux/rtnetlink.h``, ``uapi/linux/netfilter/nf_tables.h``. Standard library only, no ``weft``
imports.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
NLM_F_APPEND: Final = 0x800
NLMSG_ERROR: Final = 2
NETLINK_NETFILTER: Final = 12

RTM_NEWLINK: Final = 16
RTM_NEWROUTE: Final = 24
NFNL_BATCH_BEGIN: Final = 0x10
NFNL_BATCH_END: Final = 0x11
NFNL_NFTABLES: Final = 10
NFT_NEWTABLE, NFT_NEWCHAIN, NFT_NEWRULE = 0, 3, 6

NESTED: Final = 0x8000
HOOK_OUTPUT: Final = 3
PRIORITY_DSTNAT: Final = -100
META_L4PROTO: Final = 16
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
DESTINATION_ADDRESS_OFFSET: Final = 16
VERDICT_RETURN: Final = -5
REGISTER: Final = 1
OPAQUE_PREFIX: Final = b"\xf8"
"""The first five bits of 248.0.0.0/5, where the services are that never speak HTTP (ARCHITECTURE.md)."""
TABLE: Final = b"weft\0"
CHAIN: Final = b"capture\0"
LOOPBACK_INDEX: Final = 1


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """One netlink message, header included, padded to four bytes."""
    length = 16 + len(body)
    header = struct.pack("=IHHII", length, kind, NLM_F_REQUEST | flags, sequence, 0)
    return header + body + bytes(-length % 4)


def attribute(kind: int, value: bytes) -> bytes:
    """One type-length-value attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def number(kind: int, value: int) -> bytes:
    """An attribute that holds a 32-bit number in network order, as nf_tables wants them."""
    return attribute(kind, struct.pack(">i" if value < 0 else ">I", value))


def expression(name: str, *data: bytes) -> bytes:
    """One element of a rule."""
    inner = attribute(1, name.encode() + b"\0") + attribute(2 | NESTED, b"".join(data))
    return attribute(1 | NESTED, inner)


def equals(value: bytes) -> bytes:
    """Go on with the rule only if the register holds ``value``."""
    return expression("cmp", number(1, REGISTER), number(2, 0), attribute(3 | NESTED, attribute(1, value)))


def payload(base: int, offset: int, length: int) -> bytes:
    """Load ``length`` bytes of a packet's header into the register."""
    return expression("payload", number(1, REGISTER), number(2, base), number(3, offset), number(4, length))


def masked(mask: bytes) -> bytes:
    """Keep only the bits of the register that ``mask`` has."""
    operands = attribute(4 | NESTED, attribute(1, mask)) + attribute(5 | NESTED, attribute(1, bytes(len(mask))))
    return expression("bitwise", number(1, REGISTER), number(2, REGISTER), number(3, len(mask)), operands)


def protocol_is(protocol: int) -> bytes:
    return expression("meta", number(1, REGISTER), number(2, META_L4PROTO)) + equals(bytes([protocol]))


def redirect(port: int) -> bytes:
    """Send the connection to ``port`` of this namespace's loopback interface."""
    value = attribute(2 | NESTED, attribute(1, struct.pack(">H", port)))
    return expression("immediate", number(1, REGISTER), value) + expression("redir", number(1, REGISTER))


def leave_alone() -> bytes:
    verdict = attribute(2 | NESTED, number(1, VERDICT_RETURN))
    return expression("immediate", number(1, 0), attribute(2 | NESTED, verdict))


def capture_rules(tcp_port: int, dns_port: int) -> tuple[bytes, ...]:
    """The rules in their order: DNS to anybody (a resolver on 127.0.0.53 included), not loopback, TCP to the addresses
    of opaque services (248.0.0.0/5) to the port above ``tcp_port``, where nobody waits for the caller to speak first,
    every other TCP.
    """
    to_dns = payload(TRANSPORT_HEADER, 2, 2) + equals(struct.pack(">H", 53))
    first_byte = payload(NETWORK_HEADER, DESTINATION_ADDRESS_OFFSET, 1)
    to_loopback = first_byte + equals(b"\x7f")
    to_opaque = first_byte + masked(OPAQUE_PREFIX) + equals(OPAQUE_PREFIX)
    return (
        protocol_is(socket.IPPROTO_UDP) + to_dns + redirect(dns_port),
        protocol_is(socket.IPPROTO_TCP) + to_dns + redirect(dns_port),
        to_loopback + leave_alone(),
        to_opaque + protocol_is(socket.IPPROTO_TCP) + redirect(tcp_port + 1),
        protocol_is(socket.IPPROTO_TCP) + redirect(tcp_port),
    )


def nftables_batch(tcp_port: int, dns_port: int) -> tuple[bytes, int]:
    """The transaction that installs the rules, and how many acknowledgements the kernel will send."""
    family = struct.pack(">BBH", socket.AF_INET, 0, 0)
    control = struct.pack(">BBH", socket.AF_UNSPEC, 0, NFNL_NFTABLES)
    create = NLM_F_CREATE | NLM_F_ACK
    hook = number(1, HOOK_OUTPUT) + number(2, PRIORITY_DSTNAT)
    chain = attribute(1, TABLE) + attribute(3, CHAIN) + attribute(4 | NESTED, hook) + attribute(7, b"nat\0")
    bodies = [(NFT_NEWTABLE, create, attribute(1, TABLE)), (NFT_NEWCHAIN, create, chain)]
    bodies += [
        (NFT_NEWRULE, create | NLM_F_APPEND, attribute(1, TABLE) + attribute(2, CHAIN) + attribute(4 | NESTED, rule))
        for rule in capture_rules(tcp_port, dns_port)
    ]
    messages = [message(NFNL_BATCH_BEGIN, 0, 1, control)]
    messages += [
        message(NFNL_NFTABLES << 8 | kind, flags, sequence, family + body)
        for sequence, (kind, flags, body) in enumerate(bodies, start=2)
    ]
    messages.append(message(NFNL_BATCH_END, 0, len(bodies) + 2, control))
    return b"".join(messages), len(bodies)


def loopback_up() -> bytes:
    up = 1
    return message(RTM_NEWLINK, NLM_F_ACK, 1, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, LOOPBACK_INDEX, up, up))


def everything_is_local() -> bytes:
    """``ip route add local 0.0.0.0/0 dev lo src 127.0.0.1``: every address can be connected to, so that it can be
    redirected.
    """
    table_local, protocol_boot, scope_host, type_local = 255, 3, 254, 2
    outgoing_interface, preferred_source = 4, 7
    route = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, table_local, protocol_boot, scope_host, type_local, 0)
    flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
    interface = attribute(outgoing_interface, struct.pack("=i", LOOPBACK_INDEX))
    # Without it the source would be the called address, and replies of the resolver would bear the wrong one.
    source = attribute(preferred_source, socket.inet_aton("127.0.0.1"))
    return message(RTM_NEWROUTE, flags, 2, route + interface + source)


def send(family: int, data: bytes, replies: int) -> None:
    """Send messages and wait for their acknowledgements. Raises ``OSError`` with the kernel's own error number."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as netlink:
        netlink.settimeout(5)
        netlink.bind((0, 0))
        netlink.send(data)
        while replies > 0:
            answer = netlink.recv(65536)
            while len(answer) >= 20:
                length, kind = struct.unpack_from("=IH", answer)
                if kind == NLMSG_ERROR:
                    error = -struct.unpack_from("=i", answer, 16)[0]
                    if error:
                        raise OSError(error, os.strerror(error))
                    replies -= 1
                answer = answer[(length + 3) & ~3 :]


def capture(tcp_port: int, dns_port: int) -> None:
    """Make the calling process's network namespace, which must be fresh, capture outgoing TCP and DNS.

    Raises ``OSError``: EPERM without CAP_NET_ADMIN in the namespace's owner, EOPNOTSUPP or ENOENT where the kernel
    lacks nf_tables' nat or redir.
    """
    send(socket.NETLINK_ROUTE, loopback_up(), 1)
    send(socket.NETLINK_ROUTE, everything_is_local(), 1)
    send(NETLINK_NETFILTER, *nftables_batch(tcp_port, dns_port))
