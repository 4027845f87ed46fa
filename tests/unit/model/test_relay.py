"""What a host proxy passes on."""

from __future__ import annotations

import msgspec

from weft.model.relay import relay
from weft.model.service import Address, Capture, Placement, Protocol, Workload, WorkloadPort
from weft.names import host_suffix

HOSTS = {"anna": Address(ip="10.0.0.1", port=15008), "bert.lan": Address(ip="10.0.0.2", port=15008)}
PROXY = Workload(
    namespace="weft-system", name="anna", host="anna", placement=Placement.EGRESS, relay=Address(path="/r/relay.sock")
)


def on(host: str, name: str, *listens: Address) -> Workload:
    ports = tuple(
        WorkloadPort(8080 + at, "http", Protocol.HTTP, listen, Address(ip="127.0.0.1", port=1))
        for at, listen in enumerate(listens)
    )
    return Workload(namespace="shop", name=name, host=host, capture=Capture.PROXY, ports=ports)


def test_it_passes_on_to_every_port_of_every_proxy_of_its_own_host_and_to_every_other_host() -> None:
    here = on("anna", "a~1", Address(path="/r/1"), Address(path="/r/2"))
    made = relay(PROXY, {("shop", "a~1"): here, ("shop", "b"): on("bert.lan", "b", Address(path="/r/3"))}, HOSTS)
    assert made is not None
    assert made.local == (
        ("8080.a-n1.shop.anna.h.weft", Address(path="/r/1")),
        ("8081.a-n1.shop.anna.h.weft", Address(path="/r/2")),
    )
    assert made.remote == ((host_suffix("bert.lan"), HOSTS["bert.lan"]),)
    assert (made.listen, made.inside) == (HOSTS["anna"], Address(path="/r/relay.sock"))


def test_a_workload_without_a_proxy_is_reached_by_nobody_from_elsewhere() -> None:
    bare = on("anna", "a", Address(ip="127.0.0.1", port=8080))
    made = relay(PROXY, {("shop", "a"): bare}, HOSTS)
    assert made is not None
    assert made.local == ()


def test_there_is_none_on_a_host_without_an_address_nor_at_another_proxy() -> None:
    assert relay(PROXY, {}, {}) is None
    assert relay(msgspec.structs.replace(PROXY, relay=None), {}, HOSTS) is None
    assert relay(msgspec.structs.replace(PROXY, placement=Placement.GATEWAY), {}, HOSTS) is None
