from __future__ import annotations

import pytest

from tests.support.compiled import compiled, edge, gateway
from tests.support.guarded import CART, PAY, mesh
from weft.explain import subjects


def names(found: subjects.Subject | None) -> list[str]:
    return [each.name for each in found.workloads] if found else []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pay", ["pay-v1-0", "pay-v1-1"]),
        ("pay-v1-1", ["pay-v1-1"]),
        ("pay.default", ["pay-v1-0", "pay-v1-1"]),
        ("pay.default.svc.cluster.local", ["pay-v1-0", "pay-v1-1"]),
        ("default/pay", ["pay-v1-0", "pay-v1-1"]),
        (CART, ["cart-v1-0"]),
    ],
)
def test_a_name_means_workloads(text: str, expected: list[str]) -> None:
    assert names(subjects.find(mesh(), text, "default")) == expected
    if "." in text or "/" in text:
        assert names(subjects.find(mesh(), text, "elsewhere")) == expected


def test_a_service_account_means_all_that_have_it() -> None:
    found = subjects.find(mesh(), "default", "default")
    assert names(found) == ["plain-0"]


def test_a_gateway_means_its_proxy() -> None:
    made = compiled(gateway("front", "[{name: http, port: 80, protocol: HTTP}]"), workloads=(edge("front", 80),)).mesh
    found = subjects.find(made, "front", "default")
    assert found is not None
    assert found.identities == ("spiffe://local/ns/default/sa/front-weft",)


def test_identities_are_those_of_the_workloads() -> None:
    found = subjects.find(mesh(), "pay", "default")
    assert found is not None
    assert found.identities == (PAY,)
    ghost = subjects.find(mesh(), "spiffe://local/ns/x/sa/y", "default")
    assert ghost is not None
    assert (ghost.workloads, ghost.identities) == ((), ("spiffe://local/ns/x/sa/y",))


def test_a_name_that_nothing_has_is_nothing_with_what_is_near() -> None:
    assert subjects.find(mesh(), "pays", "default") is None
    assert subjects.find(mesh(), "pay", "elsewhere") is None
    assert subjects.near(mesh(), "elsewhere/pays") == ("pay",)


def test_only_what_has_a_proxy_has_one() -> None:
    made = mesh()
    cart, plain = (made.workloads["default", name] for name in ("cart-v1-0", "plain-0"))
    assert (cart.captured, cart.proxied) == (True, True)
    assert (plain.captured, plain.proxied) == (False, False)
    assert subjects.shown_name(made.workloads["default", "plain-0"]) == "default/plain-0"
