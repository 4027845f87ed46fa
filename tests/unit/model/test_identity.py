from __future__ import annotations

import pytest

from weft.model.identity import identity_of, reserved_for
from weft.model.service import Placement, Workload


def test_a_workload_is_known_by_its_service_account() -> None:
    workload = Workload(namespace="shop", name="pay-v1-0", host="a", service_account="pay")
    assert identity_of(workload, "local") == "spiffe://local/ns/shop/sa/pay"


def test_a_workload_without_a_service_account_has_the_default_one() -> None:
    workload = Workload(namespace="shop", name="pay-v1-0", host="a")
    assert identity_of(workload, "example.org") == "spiffe://example.org/ns/shop/sa/default"


def test_a_gateway_is_not_known_as_a_service_of_its_name() -> None:
    gateway = Workload(namespace="shop", name="pay", host="a", placement=Placement.GATEWAY)
    assert identity_of(gateway, "local") == "spiffe://local/ns/shop/sa/pay-weft"


def test_each_host_proxy_has_an_identity_of_its_own_in_the_namespace_of_the_system() -> None:
    first, second = (
        Workload(namespace="weft-system", name=name, host="hosta", placement=Placement.EGRESS)
        for name in ("hosta", "Host.B")
    )
    assert identity_of(first, "local") == "spiffe://local/ns/weft-system/sa/host-proxy-hosta"
    assert identity_of(second, "local") == "spiffe://local/ns/weft-system/sa/host-proxy-host-b"


@pytest.mark.parametrize(
    ("namespace", "account", "owner"),
    [
        ("shop", "edge-weft", "Gateway shop/edge"),
        ("shop", "other-weft", ""),
        ("bank", "edge-weft", ""),
        ("shop", "edge", ""),
        ("shop", "-weft", ""),
        ("weft-system", "host-proxy-anna", "a host"),
        ("weft-system", "host-proxy-", "a host"),
        ("weft-system", "host-proxy", ""),
        ("shop", "host-proxy-anna", ""),
    ],
)
def test_the_accounts_of_gateways_and_hosts_are_nobody_elses(namespace: str, account: str, owner: str) -> None:
    assert reserved_for(namespace, account, {("shop", "edge")}) == owner
