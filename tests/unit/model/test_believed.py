"""What control believes of another host's report."""

from __future__ import annotations

import msgspec
import pytest

from weft.memo import Memo
from weft.model.believed import believed, judged
from weft.model.mesh import GatewaySpec, Placements, PortSpec, ProcessSpec
from weft.model.service import Address, HostReport, Placement, Protocol, State, Workload, WorkloadPort


def process(name: str, host: str) -> ProcessSpec:
    return ProcessSpec(
        namespace="shop",
        name=name,
        service="pay",
        version="v1",
        command=("x",),
        service_account="payer",
        labels=(("app", "pay"),),
        ports=(PortSpec(8080, "http", Protocol.HTTP),),
        host=host,
    )


PLACED = Placements((process("pay-v1-0", "bert"), process("pay-v1-1", "anna"), process("pay-v1-2", "")))
PORT = WorkloadPort(8080, "http", Protocol.HTTP, Address(path="/r/1"), Address(ip="127.0.0.1", port=1), State.SERVING)
PAY = Workload(
    namespace="shop", name="pay-v1-0", host="bert", service_account="payer", labels=(("app", "pay"),), ports=(PORT,)
)
PROXY = Workload(namespace="weft-system", name="bert", host="bert", placement=Placement.EGRESS)


def report(*workloads: Workload, address: str = "10.0.0.2", relay_port: int = 15008) -> HostReport:
    return HostReport(host="bert", workloads=workloads, address=address, relay_port=relay_port, joined=True)


def test_what_was_placed_there_is_believed() -> None:
    whole = report(PROXY, PAY, msgspec.structs.replace(PAY, name="pay-v1-0~1"))
    assert believed(whole, PLACED) == whole


@pytest.mark.parametrize(
    "other",
    [
        msgspec.structs.replace(PAY, name="pay-v1-1"),
        msgspec.structs.replace(PAY, name="pay-v1-2"),
        msgspec.structs.replace(PAY, name="invented"),
        msgspec.structs.replace(PAY, name="pay-v1-0~2"),
        msgspec.structs.replace(PAY, name="pay-v1-0~"),
        msgspec.structs.replace(PAY, name="pay-v1-0~1~1"),
        msgspec.structs.replace(PAY, namespace="bank"),
        msgspec.structs.replace(PAY, placement=Placement.GATEWAY),
        msgspec.structs.replace(PROXY, name="anna"),
        msgspec.structs.replace(PROXY, namespace="shop"),
    ],
)
def test_what_was_placed_elsewhere_or_nowhere_is_not(other: Workload) -> None:
    assert believed(report(other, PAY), PLACED).workloads == (PAY,)


def test_who_it_is_and_what_it_stands_behind_are_controls_to_say() -> None:
    ports = (
        msgspec.structs.replace(PORT, name="admin", protocol=Protocol.TCP),
        msgspec.structs.replace(PORT, number=9999),
        msgspec.structs.replace(PORT, state=State.FAILING),
    )
    claims = msgspec.structs.replace(
        PAY, host="anna", service_account="admin", labels=(("app", "bank"),), weight=100_000, ports=ports
    )
    assert believed(report(claims), PLACED).workloads == (PAY,)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "224.0.0.1", "169.254.169.254", "bert.example.com", ""]
)
def test_nobody_is_sent_to_an_address_that_is_no_hosts(address: str) -> None:
    assert believed(report(PAY, address=address, relay_port=22), PLACED) == report(PAY, address="")


def test_a_gateway_that_was_placed_there_is_believed_about_where_it_could_bind_its_ports() -> None:
    where = Address(ip="10.0.0.2", port=8080)
    edge = Workload(
        namespace="shop",
        name="edge",
        host="bert",
        placement=Placement.GATEWAY,
        gateway_ports=((80, where), (80, Address(ip="10.0.0.2", port=9)), (443, where)),
        labels=(("app", "pay"),),
    )
    here, there = (Placements((), (GatewaySpec("shop", "edge", (80, 81), host),)) for host in ("bert", "anna"))
    (found,) = believed(report(edge), here).workloads
    assert (found.gateway_ports, found.labels, found.host) == (((80, where),), (), "bert")
    assert believed(report(edge), there).workloads == ()
    assert judged((report(edge),), there, Memo())[0].workloads == ()
    assert judged((report(edge),), here, Memo())[0].workloads == (found,)


def test_nobody_has_more_replicas_than_it_was_given() -> None:
    assert believed(report(*[PAY] * 50), PLACED) == report(PAY)


def test_what_was_taken_away_from_a_host_is_gone_however_long_it_keeps_silent_about_it() -> None:
    memo = Memo()
    own = HostReport(host="anna", workloads=(msgspec.structs.replace(PAY, host="anna"),))
    heard = (own, msgspec.structs.replace(report(PROXY, PAY), lost=True))
    assert judged(heard, PLACED, memo) == heard
    memo.turn()
    again = judged(heard, PLACED, memo)
    assert again[1] is heard[1]
    moved = Placements((process("pay-v1-0", "cleo"),))
    assert judged(heard, moved, memo) == (own, msgspec.structs.replace(report(PROXY), lost=True))


def test_where_nobody_joined_nothing_is_judged() -> None:
    alone = (HostReport(host="anna", workloads=(PAY,)),)
    assert judged(alone, Placements(), Memo()) is alone
