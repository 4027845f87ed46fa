"""Netlink messages as the kernel's headers lay them out. That the kernel takes them: tests/envoy/test_capture.py."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from weft.agent import netlink


def test_messages_and_attributes_are_padded_and_say_their_length() -> None:
    assert netlink.attribute(3, b"abcde") == struct.pack("=HH", 9, 3) + b"abcde\0\0\0"
    made = netlink.message(16, 4, 7, b"abc")
    assert len(made) == 20
    assert struct.unpack_from("=IHHII", made) == (19, 16, 5, 7, 0)


def test_numbers_are_in_network_order_and_may_be_negative() -> None:
    assert netlink.number(1, 258)[4:] == b"\0\0\1\2"
    assert netlink.number(1, -5)[4:] == b"\xff\xff\xff\xfb"


def test_the_batch_counts_its_acknowledgements_and_names_every_port() -> None:
    data, replies = netlink.nftables_batch(15001, 15053)
    assert replies == 2 + len(netlink.capture_rules(15001, 15053))
    assert all(struct.pack(">H", port) in data for port in (15001, 15002, 15053))
    assert data.count(b"redir\0") == 4
    assert data.count(b"weft\0") == replies


def test_dns_is_redirected_before_loopback_is_left_alone() -> None:
    rules = netlink.capture_rules(1, 2)
    assert [b"redir\0" in rule for rule in rules] == [True, True, False, True, True]


def test_only_the_rule_of_opaque_addresses_looks_at_a_prefix() -> None:
    rules = netlink.capture_rules(15001, 15053)
    assert [b"bitwise\0" in rule for rule in rules] == [False, False, False, True, False]
    assert struct.pack(">H", 15002) in rules[3]
    assert netlink.masked(b"\xf8").count(b"\xf8") == 1


def test_the_kernels_refusal_is_an_error_with_its_number() -> None:
    with pytest.raises(OSError, match=r"exists|permitted") as refused:
        netlink.send(socket.NETLINK_ROUTE, _loopback_address_again(), 1)
    assert refused.value.errno in (1, 17)
    assert os.strerror(refused.value.errno or 0) in str(refused.value)


def _loopback_address_again() -> bytes:
    """``ip address add 127.0.0.1/8 dev lo``, which is there already (or forbidden)."""
    body = struct.pack("=BBBBI", socket.AF_INET, 8, 0, 254, netlink.LOOPBACK_INDEX)
    address = socket.inet_aton("127.0.0.1")
    body += netlink.attribute(1, address) + netlink.attribute(2, address)
    return netlink.message(20, netlink.NLM_F_ACK | netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, 1, body)
