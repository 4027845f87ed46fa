"""How callers reach endpoints of their own host and of others."""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec

from weft.memo import Memo
from weft.model import reach
from weft.model.reach import Where
from weft.model.service import Address, Endpoint, Workload

REMOTE = Address(ip="10.0.0.2", port=15008)
THERE = Endpoint(Address(path="/b/in.sock"), host="b", name="80.x.default.b.h.weft", remote=REMOTE)


def test_an_endpoint_of_the_same_host_is_reached_by_its_own_socket() -> None:
    assert reach.reached(Where("b", "/run/relay.sock"), THERE, 0) is THERE


def test_an_endpoint_of_another_host_is_reached_by_its_host_proxy_or_by_our_own() -> None:
    assert reach.reached(Where("a"), THERE, 0).address == REMOTE
    assert reach.reached(Where("a", "/run/relay.sock"), THERE, 0).address == Address(path="/run/relay.sock")


def test_an_endpoint_without_a_host_proxy_stays_where_it_is() -> None:
    alone = msgspec.structs.replace(THERE, remote=Address())
    assert reach.reached(Where("a"), alone, 0) is alone


def test_endpoints_behind_one_socket_have_addresses_that_differ_and_are_the_same_file() -> None:
    made = [reach.spelled("/run/weft/relay.sock", number) for number in range(1_000)]
    assert len(set(made)) == 1_000
    assert {str(PurePosixPath(each)) for each in made} == {"/run/weft/relay.sock"}
    assert max(map(len, made)) <= len("/run/weft/relay.sock") + 20


def test_only_what_is_on_a_host_makes_a_difference() -> None:
    assert reach.hosts((THERE, msgspec.structs.replace(THERE, host=""))) == {"b"}


def test_what_no_host_proxy_passes_on_is_reached_on_its_own_host_only() -> None:
    alone = msgspec.structs.replace(THERE, name="", remote=Address())
    sliced = Endpoint(Address(ip="192.0.2.1", port=80))
    assert reach.reached_all(Where("a"), (alone, THERE, sliced)) == (reach.reached(Where("a"), THERE, 0), sliced)
    assert reach.reached_all(Where("b"), (alone, THERE)) == (alone, THERE)


def test_an_endpoint_that_goes_leaves_the_addresses_of_the_others() -> None:
    many = tuple(msgspec.structs.replace(THERE, name=f"80.x-{number}.default.b.h.weft") for number in range(300))
    where = Where("a", "/run/relay.sock")
    all_of_them = {each.name: each.address for each in reach.reached_all(where, many)}
    without = {each.name: each.address for each in reach.reached_all(where, many[1:])}
    moved = [name for name, address in without.items() if all_of_them[name] != address]
    assert len(set(all_of_them.values())) == 300
    assert len(moved) < 10


def test_where_a_workload_is() -> None:
    plain = Workload(namespace="d", name="w", host="a")
    assert reach.where_of(plain, Memo()) == Where("a")
    assert reach.where_of(msgspec.structs.replace(plain, relay=Address(path="/r")), Memo()) == Where("a", "/r")


def test_an_endpoint_that_was_renewed_is_another_to_its_callers_and_the_same_socket() -> None:
    renewed = msgspec.structs.replace(THERE, renewed=1)
    assert reach.reached(Where("b"), renewed, 0).address == Address(path="/b/./in.sock")
    assert reach.reached(Where("b"), msgspec.structs.replace(THERE, renewed=2), 0) == msgspec.structs.replace(
        THERE, renewed=2
    )
    far = {
        str(reach.reached(Where("a", "/r/s"), each, number).address) for number in (0, 1) for each in (THERE, renewed)
    }
    assert len(far) == 4
    assert reach.hosts((THERE,)) - {"b"} == set()
    assert reach.hosts((renewed,)) - {"b"}
