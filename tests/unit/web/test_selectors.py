from __future__ import annotations

import pytest

from weft.web import selectors

SHOP = {"metadata": {"labels": {"app": "shop", "tier": "web"}}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "app=shop",
        "app==shop",
        "app!=other",
        "app in (shop, cart)",
        "app notin (cart),tier",
        "!version",
        "x!=y",
        "x notin (y)",
    ],
)
def test_a_selector_that_holds(text: str) -> None:
    parsed = selectors.parse(text)
    assert not isinstance(parsed, str)
    assert selectors.matches(parsed, SHOP)


@pytest.mark.parametrize(
    "text", ["app=cart", "app!=shop", "app in (cart,x)", "app notin (shop)", "!app", "version", "version="]
)
def test_a_selector_that_does_not_hold(text: str) -> None:
    parsed = selectors.parse(text)
    assert not isinstance(parsed, str)
    assert not selectors.matches(parsed, SHOP)


@pytest.mark.parametrize(
    "text", ["app=a b", "=", "app in shop", "app in (a b)", ",", "app=shop,", "-x", "a" * 400, "a in ((b))"]
)
def test_what_is_no_selector_is_given_back(text: str) -> None:
    assert isinstance(selectors.parse(text), str)


def test_an_object_without_labels_has_none() -> None:
    parsed = selectors.parse("!app")
    assert not isinstance(parsed, str)
    assert selectors.matches(parsed, {"metadata": {}})
    assert selectors.matches(parsed, {"metadata": {"labels": None}})
