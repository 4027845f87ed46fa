from __future__ import annotations

from weft.model.near import near, near_index, near_objects
from weft.names import ServiceKey

INDEX = near_index(
    [
        ServiceKey("default", "reviews"),
        ServiceKey("shop", "reviews"),
        ServiceKey("shop", "ratings"),
        ServiceKey("a", "web"),
    ]
)


def test_the_same_name_elsewhere_comes_first() -> None:
    assert near(INDEX, "reviews", "other")[:2] == ("reviews.default", "reviews.shop")


def test_a_misspelt_name_finds_the_one_in_the_callers_namespace() -> None:
    assert near(INDEX, "revews", "shop")[0] == "reviews.shop"
    assert near(INDEX, "revews", "other")[0] == "reviews.default"


def test_a_wrong_first_letter_is_found_by_the_other_end() -> None:
    names = [ServiceKey("n", f"z{number:05}") for number in range(1000)] + [ServiceKey("n", "reviews")]
    assert near(near_index(names), "teviews", "n") == ("reviews.n",)


def test_nothing_near_is_nothing() -> None:
    assert near(INDEX, "zzzzzzzz", "default") == ()
    assert near(near_index([]), "a", "b") == ()


def test_objects_name_another_namespace_before_the_slash() -> None:
    assert near_objects(INDEX, "rating", "shop")[0] == "ratings"
    assert near_objects(INDEX, "rating", "default")[0] == "shop/ratings"
