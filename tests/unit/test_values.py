from __future__ import annotations

import pytest

from weft.values import Origin, Ref, pairs


def test_an_origin_in_a_file_reads_like_a_compilers() -> None:
    assert str(Origin("shop/routes.yaml", 17, 15)) == "shop/routes.yaml:17:15"


def test_an_origin_that_is_no_place_in_a_file_is_just_its_name() -> None:
    assert str(Origin("api")) == "api"


def test_a_ref_reads_like_kubernetes_with_and_without_namespace() -> None:
    assert str(Ref("", "Service", "shop", "pay")) == "Service shop/pay"
    assert str(Ref("", "Namespace", "", "shop")) == "Namespace shop"


def test_a_refs_path_is_the_provenance_form() -> None:
    assert Ref("gateway.networking.k8s.io", "HTTPRoute", "shop", "cart").path == "HTTPRoute/shop/cart"
    assert Ref("", "Namespace", "", "shop").path == "Namespace/shop"


def test_refs_are_ordered_values_and_cannot_change() -> None:
    one, two = Ref("", "Service", "a", "x"), Ref("", "Service", "b", "a")
    assert sorted([two, one]) == [one, two]
    assert hash(one) == hash(Ref("", "Service", "a", "x"))
    with pytest.raises(AttributeError):
        one.name = "y"  # type: ignore[misc]  # the refusal is the test


def test_pairs_do_not_depend_on_the_order_of_the_mapping() -> None:
    assert pairs({"b": "2", "a": "1"}) == pairs({"a": "1", "b": "2"}) == (("a", "1"), ("b", "2"))
