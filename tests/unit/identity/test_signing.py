from __future__ import annotations

import pytest

from tests.support.trust import PAY, PAY_ID, banned, mesh, process, workload
from weft.errors import Problem
from weft.identity.signing import Known, known, may_sign
from weft.model.mesh import GatewaySpec, Mesh

PLACED = mesh(
    process(),
    process("web-v1-0", "", ""),
    process("far-v1-0", "far", "hostb"),
    gateways=(GatewaySpec(namespace="shop", name="edge", ports=(80,)),),
)


def asked(node: str, host: str = "hosta", found: Mesh = PLACED, *, local: bool = True) -> str:
    answer = may_sign(host, node, found, local=local)
    return answer.code if isinstance(answer, Problem) else answer


@pytest.mark.parametrize(
    ("node", "spiffe_id"),
    [
        (PAY, PAY_ID),
        (f"{PAY}~1", PAY_ID),
        ("sidecar/shop/web-v1-0", "spiffe://local/ns/shop/sa/default"),
        ("gateway/shop/edge", "spiffe://local/ns/shop/sa/edge-weft"),
        ("egress/weft-system/hosta", "spiffe://local/ns/weft-system/sa/host-proxy-hosta"),
        ("host/hosta", "spiffe://local/weft/host/hosta"),
    ],
)
def test_a_host_gets_the_identities_of_what_it_runs(node: str, spiffe_id: str) -> None:
    assert asked(node) == spiffe_id


def test_nobody_is_the_proxy_of_a_host_or_of_a_gateway_by_naming_its_service_account() -> None:
    found = mesh(
        process("thief-v1-0", "edge-weft"),
        process("spy-v1-0", "host-proxy-hosta", namespace="weft-system"),
        gateways=(GatewaySpec(namespace="shop", name="edge", ports=(80,)),),
    )
    assert asked("sidecar/shop/thief-v1-0", found=found) == "WFT-1805"
    assert asked("sidecar/weft-system/spy-v1-0", found=found) == "WFT-1805"


def test_a_proxy_is_who_it_is_on_any_host_by_what_was_placed_and_by_no_report() -> None:
    found = mesh(process(), process("idle-v1-0", "", "bert"), gateways=(GatewaySpec("shop", "edge", (80,)),))
    assert known(PAY, found) == known(f"{PAY}~1", found) == Known(PAY_ID)
    assert known("sidecar/shop/idle-v1-0", found) == Known("spiffe://local/ns/shop/sa/default", "bert")
    assert known("gateway/shop/edge", found) == Known("spiffe://local/ns/shop/sa/edge-weft")
    host_proxy = Known("spiffe://local/ns/weft-system/sa/host-proxy-bert", "bert")
    assert known("egress/weft-system/bert", found) == host_proxy
    for node in (
        "gateway/shop/none",
        "egress/shop/bert",
        "sidecar/shop/none",
        "nonsense",
        "host/bert",
        "door/shop/edge",
    ):
        assert known(node, found) is None
    assert known(PAY, mesh(workloads=(workload(),))) is None


@pytest.mark.parametrize(
    "node",
    [
        "sidecar/shop/far-v1-0",
        "sidecar/shop/none-v1-0",
        "sidecar/other/pay-v1-0",
        "gateway/shop/other",
        "gateway/other/edge",
        "egress/weft-system/hostb",
        "egress/other/hosta",
        "host/hostb",
        "host/",
        "host/hosta/x",
        "control/weft-system/hosta",
        "pay-v1-0",
        "",
        "sidecar/shop",
        "sidecar//pay-v1-0",
        "spiffe://local/ns/shop/sa/payer",
    ],
)
def test_a_host_gets_no_other(node: str) -> None:
    assert asked(node) == "WFT-1805"


def test_another_host_gets_only_what_was_placed_on_it_by_name() -> None:
    assert asked("sidecar/shop/far-v1-0", "hostb", local=False) == "spiffe://local/ns/shop/sa/far"
    for node in (PAY, "gateway/shop/edge", "host/hosta", "egress/weft-system/hosta"):
        assert asked(node, "hostb", local=False) == "WFT-1805"
    edge = mesh(gateways=(GatewaySpec("shop", "edge", (80,), "hostb"),))
    assert asked("gateway/shop/edge", "hostb", edge, local=False) == "spiffe://local/ns/shop/sa/edge-weft"
    assert asked("gateway/shop/edge", "hosta", edge) == "WFT-1805", "not even where control runs"


def test_a_report_forbids_and_never_allows() -> None:
    elsewhere = mesh(process(), workloads=(workload(host="hostb"),))
    assert asked(PAY, found=elsewhere) == "WFT-1805"
    claimed = mesh(workloads=(workload("admin-v1-0", host="hostb"),))
    assert asked("sidecar/shop/admin-v1-0", "hostb", claimed, local=False) == "WFT-1805"


def test_whoever_is_banned_gets_none() -> None:
    assert asked(PAY, found=banned(PLACED, PAY_ID)) == "WFT-1807"
    assert asked("host/hosta", found=banned(PLACED, PAY_ID)) == "spiffe://local/weft/host/hosta"


def test_a_name_that_no_identity_can_have_is_refused() -> None:
    assert asked("host/my host", "my host") == "WFT-1806"
    assert asked(PAY, found=mesh(process(account="a/../b"))) == "WFT-1806"
