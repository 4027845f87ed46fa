"""Answers to questions, honest and hostile."""

from __future__ import annotations

import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from weft.agent import dns

NAMES = dns.Names(
    services={"reviews.default": "240.0.0.7", "reviews.shop": "240.0.0.8"},
    hosts={"api.example.com": "240.0.0.9", "*.cdn.net": "240.0.0.10"},
)
MACHINE = dns.Machine(search=("corp.example.org",), servers=("10.0.0.1",), hostname="box")


def ask(name: str, kind: int = dns.A, klass: int = 1, flags: int = 0x0100) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", 77, flags, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, klass)


def answered(
    name: str, kind: int = dns.A, namespace: str = "default", names: dns.Names = NAMES
) -> tuple[int, str | None]:
    """The response code and the address of the answer."""
    said = dns.answer(ask(name, kind), namespace, names, MACHINE)
    assert isinstance(said, bytes)
    identity, flags, questions, answers = struct.unpack_from(">HHHH", said)
    assert (identity, flags & 0x8000, questions) == (77, 0x8000, 1)
    return flags & 15, socket.inet_ntoa(said[-4:]) if answers else None


def test_every_spelling_of_a_service_is_its_address() -> None:
    for name in ("reviews", "reviews.default", "reviews.default.svc", "REVIEWS.default.svc.cluster.local"):
        assert answered(name) == (0, "240.0.0.7")


def test_a_short_name_means_the_service_of_the_callers_own_namespace() -> None:
    assert answered("reviews", namespace="shop") == (0, "240.0.0.8")
    assert answered("reviews", namespace="other") == (0, dns.EXPLANATION)


def test_external_hosts_resolve_exactly_and_below_a_wildcard() -> None:
    assert answered("api.example.com") == (0, "240.0.0.9")
    assert answered("a.b.cdn.net") == (0, "240.0.0.10")


def test_other_types_of_a_known_name_have_no_data() -> None:
    assert answered("reviews", dns.AAAA) == (0, None)


def test_an_unknown_name_leads_to_the_explanation() -> None:
    assert answered("reviwes") == (0, dns.EXPLANATION)
    assert answered("reviwes.default.svc.cluster.local") == (0, dns.EXPLANATION)
    assert answered("reviwes", dns.AAAA) == (0, None)


def test_a_name_below_the_search_list_does_not_exist_so_that_the_next_one_is_tried() -> None:
    assert answered("reviews.corp.example.org") == (dns.NO_NAME, None)
    assert answered("1.0.0.127.in-addr.arpa", dns.PTR) == (dns.NO_NAME, None)


def test_localhost_and_the_machine_itself_are_loopback() -> None:
    assert answered("localhost") == (0, dns.LOOPBACK)
    assert answered("box") == (0, dns.LOOPBACK)


def test_unknown_names_are_passed_on_only_where_any_traffic_is_allowed() -> None:
    allowed = NAMES._replace(allow_any=True)
    assert dns.answer(ask("example.org"), "default", allowed, MACHINE) == dns.Forward()
    assert answered("reviews", names=allowed) == (0, "240.0.0.7")


def test_what_is_no_question_is_refused_or_ignored() -> None:
    assert dns.answer(b"short", "default", NAMES, MACHINE) is None
    assert dns.answer(ask("reviews", flags=0x8180), "default", NAMES, MACHINE) is None
    for message, code in (
        (ask("reviews")[:20], dns.FORMAT_ERROR),
        (ask("reviews", flags=0x2800), dns.NOT_IMPLEMENTED),
        (ask("reviews", klass=3), dns.NO_NAME),
        (struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", dns.FORMAT_ERROR),
    ):
        said = dns.answer(message, "default", NAMES, MACHINE)
        assert isinstance(said, bytes)
        assert said[3] & 15 == code


@given(st.binary(max_size=600))
def test_no_bytes_break_it(message: bytes) -> None:
    said = dns.answer(message, "default", NAMES, MACHINE)
    assert said is None or (isinstance(said, bytes) and said[:2] == message[:2] and len(said) <= len(message) + 16)


def test_the_last_search_line_counts_and_servers_have_a_family() -> None:
    text = "domain a.b\nnameserver 10.0.0.1 # here\nsearch X.y. z\nnameserver ::1\nnameserver nonsense\noptions ndots:5"
    machine = dns.parse_resolv_conf(text, "Box")
    assert machine == dns.Machine(("x.y", "z"), ("10.0.0.1", "::1", "nonsense"), "box")
    assert dns.name_servers(machine) == ((socket.AF_INET, ("10.0.0.1", 53)), (socket.AF_INET6, ("::1", 53)))
